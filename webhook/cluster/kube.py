"""A small client of the Kubernetes API: raw JSON, typed errors (webhook.cluster.kube_errors).

`kubernetes` itself only finds the cluster and keeps the credentials fresh (webhook.cluster.kubeconfig).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import urllib3
from kubernetes.client import ApiClient

from webhook.cluster.kube_errors import (
    KubeConfigError,
    KubeConflictError,
    KubeError,
    KubeForbiddenError,
    KubeGoneError,
    KubeInvalidError,
    KubeNotFoundError,
    KubeUnavailableError,
    error_of,
    network_errors,
)
from webhook.cluster.kubeconfig import find_cluster
from webhook.cluster.port_forward import open_port

__all__ = [
    "APPLY",
    "LONGEST_SILENCE",
    "MERGE",
    "TIMEOUT",
    "KubeClient",
    "KubeConfigError",
    "KubeConflictError",
    "KubeError",
    "KubeForbiddenError",
    "KubeGoneError",
    "KubeInvalidError",
    "KubeNotFoundError",
    "KubeUnavailableError",
    "Params",
    "Watch",
    "WatchEvent",
    "core_path",
    "group_path",
]

TIMEOUT = 10.0
"""Seconds for the connection, and for each part of the answer."""
LONGEST_SILENCE = 80.0
"""Seconds without an event after which a watch is opened again."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_JSON = "application/json"

Params = Mapping[str, str | int | bool]


class WatchEvent(NamedTuple):
    """One event: ADDED, MODIFIED, DELETED or BOOKMARK, and the object (for DELETED its last state)."""

    type: str
    object: dict[str, Any]


class Watch:
    """An open watch: iterate over it, close it from any thread."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, server: str) -> None:
        self._response, self._server = response, server
        self._closed = False

    def __iter__(self) -> Iterator[WatchEvent]:
        """Yield events until the server ends the watch or nothing has come for too long.

        Raises KubeGoneError, KubeUnavailableError.
        """
        try:
            with network_errors(self._server), suppress(urllib3.exceptions.ReadTimeoutError):
                for line in _lines(self._response):
                    event = msgspec.json.decode(line)
                    if event["type"] == "ERROR":
                        raise error_of(event["object"].get("code", 500), event["object"])
                    yield WatchEvent(event["type"], event["object"])
        except KubeUnavailableError:
            if not self._closed:
                raise

    def close(self) -> None:
        """Close it. This ends the iteration, also in a thread that waits for the next event."""
        self._closed = True
        try:
            self._response.shutdown()
        except (ValueError, RuntimeError, OSError):  # it has ended already
            self._response.close()


class KubeClient:
    """Calls to one cluster. Safe to use from several threads."""

    def __init__(self, api: ApiClient, *, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        """The namespace of the context or of the service account."""
        self.server: str = api.configuration.host.rstrip("/")

    @classmethod
    def from_environment(cls, *, kubeconfig: str | None = None, context: str | None = None) -> KubeClient:
        """Find the cluster as kubectl does: the file given, KUBECONFIG, ~/.kube/config, the pod's service account.

        Raises KubeConfigError.
        """
        configuration, namespace = find_cluster(kubeconfig=kubeconfig, context=context)
        try:
            return cls(ApiClient(configuration), namespace=namespace)
        except (ImportError, urllib3.exceptions.HTTPError) as error:
            raise KubeConfigError(
                "cannot use the proxy of HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or the kubeconfig: only http:// and https://"
            ) from error

    def get(self, path: str, *, metadata_only: bool = False, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Read an object."""
        accept = _partial("PartialObjectMetadata") if metadata_only else _JSON
        return self._call("GET", path, accept=accept, timeout=timeout)

    def list(
        self, path: str, *, params: Params | None = None, metadata_only: bool = False, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        """Read a collection, or a page of it (`limit` and `continue` in `params`)."""
        accept = _partial("PartialObjectMetadataList") if metadata_only else _JSON
        return self._call("GET", path, params=params, accept=accept, timeout=timeout)

    def create(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        params: Params | None = None,
        timeout: float = TIMEOUT,
        on_warning: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Create an object in the collection `path`. `on_warning` takes each Warning header of the answer."""
        return self._call("POST", path, body=body, params=params, timeout=timeout, on_warning=on_warning)

    def replace(self, path: str, body: Mapping[str, Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Replace an object. If `body` has a resourceVersion, the object must still have this version."""
        return self._call("PUT", path, body=body, timeout=timeout)

    def patch(
        self, path: str, body: Any, *, content_type: str = MERGE, params: Params | None = None, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        """Patch an object."""
        return self._call("PATCH", path, body=body, content_type=content_type, params=params, timeout=timeout)

    def apply(
        self, path: str, body: Mapping[str, Any], *, field_manager: str, force: bool = False, timeout: float = TIMEOUT
    ) -> dict[str, Any]:
        """Apply the fields in `body` (server-side apply), which `field_manager` then owns."""
        params: Params = {"fieldManager": field_manager, "force": force}
        return self.patch(path, body, content_type=APPLY, params=params, timeout=timeout)

    def delete(self, path: str, *, params: Params | None = None, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Delete an object."""
        return self._call("DELETE", path, params=params, timeout=timeout)

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        params: Params | None = None,
        seconds: int = 300,
        silence: float = LONGEST_SILENCE,
        metadata_only: bool = False,
    ) -> Watch:
        """Watch from `resource_version` on, with bookmarks.

        The server ends it after about `seconds`. It also ends when nothing has come for `silence` seconds, since the
        connection may be dead: open it again. A bookmark comes every minute only if anything has changed since the
        watch was opened, or etcd has reported progress, which it does every ten minutes by default (Kubernetes 1.36,
        apiserver's cache_watcher.go, processInterval).
        """
        query: dict[str, str | int | bool] = {
            **(params or {}),
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": resource_version,
            "timeoutSeconds": seconds,
        }
        headers = {"Accept": _partial("PartialObjectMetadata") if metadata_only else _JSON}
        timeout = urllib3.Timeout(connect=TIMEOUT, read=silence)
        with network_errors(self.server):
            response = self._send("GET", path, headers, params=query, timeout=timeout, stream=True)
            if response.status != 200:
                raise error_of(response.status, _status_of(response.data))
        return Watch(response, server=self.server)

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        """Connect to a port of a pod, through the API server. Raises KubeError."""
        headers: dict[str, str] = {}
        path = core_path(namespace, "pods", pod) + "/portforward"
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
        return open_port(self._api.configuration, self.server + path, headers, port)

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = _JSON,
        params: Params | None = None,
        accept: str = _JSON,
        timeout: float,
        on_warning: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        headers = {"Accept": accept}
        content = None
        if body is not None:
            headers["Content-Type"] = content_type
            content = msgspec.json.encode(body)
        with network_errors(self.server):
            response = self._send(method, path, headers, params=params, timeout=timeout, content=content)
            answer = response.data
        if response.status >= 400:
            raise error_of(response.status, _status_of(answer))
        if on_warning:
            for warning in response.headers.getlist("Warning"):
                on_warning(_warning_text(warning))
        try:
            decoded = msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            raise KubeInvalidError(f"{self.server} does not answer like a Kubernetes API server") from error
        return decoded if isinstance(decoded, dict) else {}

    def _send(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        *,
        params: Params | None,
        timeout: float | urllib3.Timeout,
        content: bytes | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        headers["User-Agent"] = "mlflow-webhook"
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        query = f"?{urlencode({name: _plain(value) for name, value in params.items()})}" if params else ""
        response: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
            method,
            self.server + path + query,
            body=content,
            headers=headers,
            timeout=timeout,
            preload_content=not stream,
            redirect=False,
        )
        return response


def core_path(namespace: str, resource: str, name: str = "") -> str:
    """Return the path of a core/v1 object (or collection) in a namespace."""
    return f"/api/v1/namespaces/{namespace}/{resource}" + (f"/{name}" if name else "")


def group_path(group_version: str, resource: str, name: str = "", *, namespace: str = "") -> str:
    """Return the path of an object (or collection) of a named group, such as ``coordination.k8s.io/v1``."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{group_version}{scope}/{resource}" + (f"/{name}" if name else "")


def _partial(kind: str) -> str:
    return f"application/json;as={kind};g=meta.k8s.io;v=v1,application/json"


def _plain(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _warning_text(header: str) -> str:
    """Return the text in ``299 - "text"`` (RFC 7234, 5.5)."""
    return header.partition('"')[2].rpartition('"')[0].replace('\\"', '"') or header


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line)


def _status_of(content: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
