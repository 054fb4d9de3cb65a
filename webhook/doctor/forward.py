"""Reaches a Service from wherever the check runs: by its name inside the cluster, else through the API server."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError, core_path
from webhook.network import split_url


class Endpoint(NamedTuple):
    """Where to connect to: a host and a port."""

    host: str
    port: int


class Service(NamedTuple):
    """A Service by its name."""

    namespace: str
    name: str
    port: int


class UnreachableError(Exception):
    """The Service cannot be reached from here; the message says why.

    `code` is a stable name of the problem; empty if the Service may not be read.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


def inside_a_cluster() -> bool:
    """Return whether this runs in a pod, where the names of Services resolve."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def service_of(client: KubeClient, uri: str) -> Service | None:
    """Return which Service a URL names, by the cluster's naming scheme: ``name.namespace[.svc[.cluster.local]]``.

    Any host may have a name with two labels. It names a Service only if the second label is the name of a namespace.
    """
    parts = split_url(uri)
    match = re.fullmatch(r"([a-z0-9-]+)\.([a-z0-9-]+)(\.svc(\.cluster\.local)?)?", parts.hostname or "")
    if not match:
        return None
    if not match[3]:
        with suppress(KubeForbiddenError):  # it may not be read, so a Service is more likely
            try:
                client.get(f"/api/v1/namespaces/{match[2]}", metadata_only=True)
            except KubeNotFoundError:
                return None
    return Service(match[2], match[1], parts.port or (443 if parts.scheme == "https" else 80))


@contextmanager
def reach(client: KubeClient, service: Service) -> Iterator[Endpoint]:
    """Yield an address at which the Service can be reached while the context lasts. Raises UnreachableError."""
    if inside_a_cluster():
        yield Endpoint(f"{service.name}.{service.namespace}.svc", service.port)
        return
    try:
        pod, port = _backend(client, service)
        client.forward(service.namespace, pod, port).close()  # check that this is allowed
    except KubeNotFoundError as error:
        raise UnreachableError(f"Service {service.namespace}/{service.name} not found", "service_missing") from error
    except KubeError as error:
        raise UnreachableError(error.message) from error
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_accept, args=(listener, client, service.namespace, pod, port), daemon=True)
    thread.start()
    try:
        yield Endpoint("127.0.0.1", listener.getsockname()[1])
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(2)


class ServiceTransport(httpx.HTTPTransport):
    """Sends requests to a Service from wherever this runs, with the URL's host in the Host header.

    The first request opens the connection, and raises UnreachableError if that fails.
    """

    def __init__(self, client: KubeClient, service: Service, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify)
        self._client, self._service = client, service
        self._endpoint: Endpoint | None = None
        self._open = ExitStack()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises UnreachableError, and what its base class does."""
        if self._endpoint is None:
            self._endpoint = self._open.enter_context(reach(self._client, self._service))
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host=self._endpoint.host, port=self._endpoint.port)
        return super().handle_request(request)

    def close(self) -> None:
        """Close the connections and the forwarding."""
        super().close()
        self._open.close()


@dataclass(frozen=True, kw_only=True)
class Reaching:
    """How servers are reached: the tracking server at `url` if given, and Services from outside the cluster too."""

    url: str | None
    timeout: float
    verify: ssl.SSLContext

    def service(self, client: KubeClient, uri: str) -> Service | None:
        """Return the Service that an address names, if it must be reached through the API server; else None."""
        return None if inside_a_cluster() or uri == self.url else service_of(client, uri)

    def mounts(self, client: KubeClient, uris: list[str]) -> dict[str, httpx.BaseTransport | None]:
        """Return a transport for each Service among some addresses."""
        services = {split_url(uri).hostname: self.service(client, uri) for uri in uris}
        return {
            f"all://{host}": ServiceTransport(client, service, self.verify)
            for host, service in services.items()
            if service
        }


def _backend(client: KubeClient, service: Service) -> tuple[str, int]:
    """Return a ready pod of the Service, and the port of that pod."""
    spec = client.get(core_path(service.namespace, "services", service.name))["spec"]
    if not spec.get("selector"):  # ExternalName, or with endpoints written by hand
        raise UnreachableError(
            f"Service {service.namespace}/{service.name} has no selector, so there is no pod to connect to"
        )
    ports = spec.get("ports") or []
    wanted = next((port for port in ports if port["port"] == service.port), None)
    if wanted is None:
        raise UnreachableError(
            f"Service {service.namespace}/{service.name} has no port {service.port}", "service_without_port"
        )
    selector = ",".join(f"{name}={value}" for name, value in spec["selector"].items())
    pods = client.list(core_path(service.namespace, "pods"), params={"labelSelector": selector})["items"]
    ready = next((pod for pod in pods if _ready(pod)), None)
    if ready is None:
        raise UnreachableError(f"Service {service.namespace}/{service.name} has no ready pod", "service_without_pod")
    # the name of a headless Service resolves to its pods, so its targetPort has no effect
    target = service.port if spec.get("clusterIP") == "None" else wanted.get("targetPort", service.port)
    if isinstance(target, str):
        named = [port for c in ready["spec"]["containers"] for port in c.get("ports", []) if port.get("name") == target]
        target = named[0]["containerPort"] if named else service.port
    return ready["metadata"]["name"], int(target)


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _accept(listener: socket.socket, client: KubeClient, namespace: str, pod: str, port: int) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = client.forward(namespace, pod, port)
        except KubeError:
            near.close()
            continue
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.close()
