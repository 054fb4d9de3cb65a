"""The errors of the Kubernetes API client, and how an answer or a broken connection becomes one.

KubeError
├── KubeConfigError        no cluster was found: no kubeconfig, no service account
├── KubeUnavailableError   a retry may succeed: network, TLS, timeout, 429, 5xx
├── KubeForbiddenError     401 and 403
├── KubeNotFoundError      404
├── KubeConflictError      409
├── KubeGoneError          410: list again
└── KubeInvalidError       any other answer
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3


class KubeError(Exception):
    """A call that failed. `status` is None if there was no answer. `message` is for people."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.message, self.status = message, status


class KubeConfigError(KubeError):
    """No cluster was found, or its kubeconfig cannot be used."""


class KubeUnavailableError(KubeError):
    """The API server cannot be reached, or cannot answer now."""


class KubeForbiddenError(KubeError):
    """The caller is not authenticated, or not allowed to do this."""


class KubeNotFoundError(KubeError):
    """The object was not found."""


class KubeConflictError(KubeError):
    """The object exists already, or has changed since it was read."""


class KubeGoneError(KubeError):
    """The resource version is too old to watch from."""


class KubeInvalidError(KubeError):
    """The API server does not accept the request."""


_BY_STATUS: Mapping[int, type[KubeError]] = {
    401: KubeForbiddenError,
    403: KubeForbiddenError,
    404: KubeNotFoundError,
    409: KubeConflictError,
    410: KubeGoneError,
    429: KubeUnavailableError,
}


def error_of(status: int, answer: Mapping[str, Any]) -> KubeError:
    """Return the error for an answer's HTTP status and its Status object."""
    kind = _BY_STATUS.get(status, KubeUnavailableError if status >= 500 else KubeInvalidError)
    message = answer.get("message") or f"the API server answered with status {status}"
    return kind(message, status=status)


@contextmanager
def network_errors(server: str) -> Iterator[None]:
    """Raise KubeUnavailableError for what fails in the network inside the context."""
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
            return "the host name does not resolve"
        case urllib3.exceptions.NewConnectionError():
            return "connection refused" if "refused" in str(error) else str(error).rpartition(": ")[2]
        case urllib3.exceptions.TimeoutError():
            return "no answer in time"
        case urllib3.exceptions.SSLError():
            return f"TLS: {error}"
        case _:
            return str(error) or type(error).__name__
