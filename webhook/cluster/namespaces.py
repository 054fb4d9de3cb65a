"""Where namespaces come from: given ones (`serve --standalone`), or a watch with live reads (in a cluster)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from webhook.cluster.informer import Informer
from webhook.cluster.kube import KubeClient, KubeError
from webhook.core.configuration import Namespace
from webhook.core.lookup import LookupFailedError
from webhook.core.names import ANNOTATION_GROUP, LABEL

PATH = "/api/v1/namespaces"
STALE_AFTER = 90.0
"""Seconds of silence after which the watch is no longer relied on; a healthy one has a bookmark every minute."""


class StaticNamespaces:
    """Knows the namespaces it was given; any other one has neither labels nor annotations."""

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        self._namespaces = {namespace.name: namespace for namespace in namespaces}

    def known(self, name: str) -> Namespace:
        """Give a namespace."""
        return self._namespaces.get(name) or Namespace(name, {}, {})

    def fresh(self) -> bool:
        """Say that nothing here grows old."""
        return True

    async def read(self, name: str) -> Namespace:
        """Give a namespace."""
        return self.known(name)


class NamespaceWatch:
    """All namespaces of a cluster, kept by a watch; `read` asks the API server itself and remembers the answer."""

    def __init__(
        self, client: KubeClient, *, lookup_timeout: timedelta, on_restart: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._timeout = lookup_timeout.total_seconds()
        self._namespaces: dict[str, tuple[int, Namespace]] = {}
        self._lock = threading.Lock()  # for writers: the watch's thread, and the server's with live reads
        self._readers = ThreadPoolExecutor(8, "namespace-reader")
        self._informer = Informer(client, PATH, self, metadata_only=True, on_restart=on_restart)

    def __len__(self) -> int:
        """Return how many namespaces are known."""
        return len(self._namespaces)

    @property
    def silence(self) -> float:
        """Return the seconds since the API server last said something on the watch; infinite before that."""
        return self._informer.silence

    def start(self) -> None:
        """Begin to watch."""
        self._informer.start()

    def stop(self) -> None:
        """End the watch."""
        self._informer.stop()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def problem(self) -> str | None:
        """Say why reviews should not come here yet."""
        return None if self._informer.synced else "the namespaces have not been listed yet"

    def known(self, name: str) -> Namespace | None:
        """Give what the watch, or the last live read, said."""
        entry = self._namespaces.get(name)
        return entry[1] if entry else None

    def fresh(self) -> bool:
        """Whether the watch has been heard of lately."""
        return self._informer.silence < STALE_AFTER

    async def read(self, name: str) -> Namespace:
        """Ask the API server. Raises LookupFailedError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                found = await loop.run_in_executor(self._readers, self._get, name)
        except KubeError as error:
            raise LookupFailedError(error.message) from error
        except TimeoutError:
            raise LookupFailedError(f"no answer within {self._timeout:g} s") from None
        self._remember(found)
        return _namespace(found)

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        """Take the list of all namespaces."""
        self._namespaces = {item["metadata"]["name"]: (_version(item), _namespace(item)) for item in objects}

    def changed(self, type: str, object: dict[str, Any]) -> None:  # noqa: A002 - the event's own words
        """Take one event of the watch."""
        if type == "DELETED":
            self._namespaces.pop(object["metadata"]["name"], None)
        else:
            self._remember(object)

    def _get(self, name: str) -> dict[str, Any]:
        return self._client.get(f"{PATH}/{name}", metadata_only=True, timeout=self._timeout)

    def _remember(self, found: Mapping[str, Any]) -> None:
        name = found["metadata"]["name"]
        with self._lock:
            entry = self._namespaces.get(name)
            if entry is None or entry[0] <= _version(found):  # a live read may be ahead of the watch
                self._namespaces[name] = (_version(found), _namespace(found))


def _version(found: Mapping[str, Any]) -> int:
    """Give the resource version, which grows with time for all objects of a kind (KEP-5504)."""
    return int(found["metadata"]["resourceVersion"])


def _namespace(found: Mapping[str, Any]) -> Namespace:
    """Keep only what decides: ten thousand namespaces shall not cost much memory."""
    metadata = found["metadata"]
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name == LABEL}
    prefix = f"{ANNOTATION_GROUP}/"
    annotations = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if name.startswith(prefix)
    }
    return Namespace(metadata["name"], _LABELLED if labels == _LABELLED else labels or _NONE, annotations or _NONE)


# One object for all that are alike.
_NONE: Mapping[str, str] = {}
_LABELLED: Mapping[str, str] = {LABEL: "true"}
