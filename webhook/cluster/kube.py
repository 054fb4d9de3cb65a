"""A small client of the Kubernetes API: raw JSON, typed errors. The only module that imports `kubernetes`.

What `kubernetes` does for us is finding the cluster: kubeconfig files, contexts, exec plugins, tokens that are renewed.

    KubeError
    ├── KubeConfigError        no cluster to talk to: no kubeconfig, no service account
    ├── KubeUnavailableError   may pass: network, TLS, timeout, 429, 5xx
    ├── KubeForbiddenError     401 and 403
    ├── KubeNotFoundError      404
    ├── KubeConflictError      409
    ├── KubeGoneError          410: list again
    └── KubeInvalidError       any other answer
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

TIMEOUT = 10.0
"""Seconds to connect, and then for each part of the answer."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_JSON = "application/json"

Params = Mapping[str, str | int | bool]


class KubeError(Exception):
    """A call that failed. `status` is None when there was no answer; `message` is for people."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.status = message, status


class KubeConfigError(KubeError):
    """There is no cluster to talk to."""


class KubeUnavailableError(KubeError):
    """The API server is not there, or not able to answer now."""


class KubeForbiddenError(KubeError):
    """The identity is not known, or may not do this."""


class KubeNotFoundError(KubeError):
    """There is no such object."""


class KubeConflictError(KubeError):
    """It exists already, or has changed since it was read."""


class KubeGoneError(KubeError):
    """The resource version is too old to go on from."""


class KubeInvalidError(KubeError):
    """The API server does not take this."""


class WatchEvent(NamedTuple):
    """One event: ADDED, MODIFIED, DELETED or BOOKMARK, and the object as it is now (or last was)."""

    type: str
    object: dict[str, Any]


class Watch:
    """An open watch: iterate over it, close it from any thread."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, server: str) -> None:
        self._response, self._server = response, server
        self._closed = False

    def __iter__(self) -> Iterator[WatchEvent]:
        """Give events until the server ends the watch. Raises KubeGoneError, KubeUnavailableError."""
        try:
            with _network_errors(self._server):
                for line in _lines(self._response):
                    event = msgspec.json.decode(line)
                    if event["type"] == "ERROR":
                        raise _error(event["object"].get("code", 500), event["object"])
                    yield WatchEvent(event["type"], event["object"])
        except KubeUnavailableError:
            if not self._closed:
                raise

    def close(self) -> None:
        """End it; a thread that waits for the next event sees its end."""
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
        """The context's, or the service account's, namespace."""
        self.server: str = api.configuration.host.rstrip("/")

    @classmethod
    def from_environment(cls, *, kubeconfig: str | None = None, context: str | None = None) -> KubeClient:
        """Find the cluster as kubectl does: the file given, KUBECONFIG, ~/.kube/config, the pod's service account.

        Raises KubeConfigError.
        """
        configuration = Configuration()
        configuration.retries = False  # what to do about a failure is the caller's decision
        file = kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")  # noqa: PTH111 - Path raises without a home
        wanted = kubeconfig or context or os.environ.get("KUBECONFIG")
        try:
            if wanted or Path(file).exists():
                config.load_kube_config(file, context=context, client_configuration=configuration)
                _, current = config.list_kube_config_contexts(file)
                namespace = _context(file, context, current).get("namespace") or "default"
            else:
                config.load_incluster_config(client_configuration=configuration)
                namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
        except (ConfigException, OSError, yaml.YAMLError) as error:
            if not wanted and not Path(file).exists():
                raise KubeConfigError(
                    "no cluster: there is no kubeconfig (--kubeconfig, KUBECONFIG, ~/.kube/config), "
                    "and this is not a pod with a service account"
                ) from error
            if not any(Path(part).exists() for part in file.split(os.pathsep)):
                raise KubeConfigError(f"there is no kubeconfig {file}") from error
            raise KubeConfigError(f"cannot use the kubeconfig {file}: {str(error).splitlines()[0]}") from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # the client takes it for granted that the file is text, and that every part of it has the right type
            raise KubeConfigError(
                f"cannot use the kubeconfig {file}: it is not a kubeconfig, or a broken one"
            ) from error
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
        """Replace an object; with its resourceVersion in `body`, only if it has not changed since."""
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
        silence: float = 120.0,
        metadata_only: bool = False,
    ) -> Watch:
        """Watch from `resource_version` on, with bookmarks.

        The server ends it after about `seconds`. When nothing at all has come for `silence` seconds, the iteration
        raises KubeUnavailableError: bookmarks come every minute, so the connection is dead.
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
        with _network_errors(self.server):
            response = self._send("GET", path, headers, params=query, timeout=timeout, stream=True)
            if response.status != 200:
                raise _error(response.status, _status_of(response.data))
        return Watch(response, server=self.server)

    def forward(self, namespace: str, pod: str, port: int) -> socket.socket:
        """Connect to a port of a pod, through the API server. Raises KubeError."""
        headers: dict[str, str] = {}
        path = core_path(namespace, "pods", pod) + "/portforward"
        self._api.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
        from kubernetes.stream.ws_client import portforward_call

        query = [("ports", str(port))]
        try:
            forwarded = portforward_call(
                self._api.configuration, "GET", self.server + path, query_params=query, headers=headers
            )
        except ApiException as error:
            kind = KubeForbiddenError if "403" in str(error.reason) else KubeUnavailableError
            raise kind(f"no connection to pod {namespace}/{pod} port {port}: {error.reason}") from error
        connection: socket.socket = forwarded.socket(port)
        return connection

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
        with _network_errors(self.server):
            response = self._send(method, path, headers, params=params, timeout=timeout, content=content)
            answer = response.data
        if response.status >= 400:
            raise _error(response.status, _status_of(answer))
        if on_warning:
            for warning in response.headers.getlist("Warning"):
                on_warning(_warning_text(warning))
        try:
            decoded = msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            raise KubeInvalidError(f"{self.server} does not answer as a Kubernetes API server does") from error
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
    """Give the path of a core/v1 object (or collection) in a namespace."""
    return f"/api/v1/namespaces/{namespace}/{resource}" + (f"/{name}" if name else "")


def group_path(group_version: str, resource: str, name: str = "", *, namespace: str = "") -> str:
    """Give the path of an object (or collection) of a named group, such as ``coordination.k8s.io/v1``."""
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{group_version}{scope}/{resource}" + (f"/{name}" if name else "")


def _context(file: str, wanted: str | None, current: Mapping[str, Any]) -> Mapping[str, Any]:
    if wanted is None:
        chosen: Mapping[str, Any] = current
    else:
        contexts, _ = config.list_kube_config_contexts(file)
        chosen = next((context for context in contexts if context["name"] == wanted), {})
    return chosen.get("context") or {}


def _partial(kind: str) -> str:
    return f"application/json;as={kind};g=meta.k8s.io;v=v1,application/json"


def _plain(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _warning_text(header: str) -> str:
    """Take the text out of ``299 - "text"`` (RFC 7234, 5.5)."""
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


_BY_STATUS: Mapping[int, type[KubeError]] = {
    401: KubeForbiddenError,
    403: KubeForbiddenError,
    404: KubeNotFoundError,
    409: KubeConflictError,
    410: KubeGoneError,
    429: KubeUnavailableError,
}


def _error(status: int, answer: Mapping[str, Any]) -> KubeError:
    kind = _BY_STATUS.get(status, KubeUnavailableError if status >= 500 else KubeInvalidError)
    message = answer.get("message") or f"the API server answered with status {status}"
    return kind(message, status=status)


@contextmanager
def _network_errors(server: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.HTTPError as error:
        raise KubeUnavailableError(f"the API server {server} cannot be reached: {_why(error)}") from error
    except OSError as error:
        raise KubeUnavailableError(f"the API server {server} cannot be reached: {error.strerror or error}") from error


def _why(error: BaseException) -> str:
    match error:
        case urllib3.exceptions.MaxRetryError(reason=BaseException() as reason):
            return _why(reason)
        case urllib3.exceptions.NameResolutionError():
            return "its name does not resolve"
        case urllib3.exceptions.NewConnectionError():
            return "nothing listens there" if "refused" in str(error) else str(error).rpartition(": ")[2]
        case urllib3.exceptions.TimeoutError():
            return "no answer in time"
        case urllib3.exceptions.SSLError():
            return f"TLS: {error}"
        case _:
            return str(error) or type(error).__name__
