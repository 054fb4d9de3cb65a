"""Connects to a port of a pod through the API server, as `kubectl port-forward` does."""

from __future__ import annotations

import socket

from kubernetes.client import Configuration
from kubernetes.client.exceptions import ApiException

from webhook.cluster.kube_errors import KubeForbiddenError, KubeUnavailableError


def open_port(configuration: Configuration, url: str, headers: dict[str, str], port: int) -> socket.socket:
    """Connect to a port; `url` is that of the pod's subresource `portforward`. Raises KubeError."""
    from kubernetes.stream.ws_client import portforward_call  # imports a web socket library, which `serve` never needs

    try:
        forwarded = portforward_call(configuration, "GET", url, query_params=[("ports", str(port))], headers=headers)
    except ApiException as error:
        kind = KubeForbiddenError if "403" in str(error.reason) else KubeUnavailableError
        pod = url.rpartition("/api/v1/namespaces/")[2].removesuffix("/portforward").replace("/pods/", "/")
        raise kind(f"no connection to pod {pod} port {port}: {error.reason}") from error
    connection: socket.socket = forwarded.socket(port)
    return connection
