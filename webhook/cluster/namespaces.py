"""Where namespaces come from: a fixed list (`serve --standalone`), or a watch with live reads (in a cluster)."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from webhook.cluster.informer import Informer
from webhook.cluster.kube import KubeClient, KubeError, KubeNotFoundError
from webhook.cluster.live_reads import LiveReads
from webhook.core.configuration import Namespace
from webhook.core.lookup import LookupFailedError, LookupOutcome
from webhook.core.names import ANNOTATION_GROUP, LABEL
from webhook.core.values import DNS_LABEL

PATH = "/api/v1/namespaces"


class StaticNamespaces:
    """A fixed list of namespaces; any other one has no labels and no annotations."""

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        self._namespaces = {namespace.name: namespace for namespace in namespaces}

    def known(self, name: str) -> Namespace:
        """Return a namespace."""
        return self._namespaces.get(name) or Namespace(name, {}, {})

    def fresh(self) -> bool:
        """Return True: a fixed list is never out of date."""
        return True

    async def read(self, name: str) -> Namespace:
        """Return a namespace."""
        return self.known(name)


class NamespaceWatch:
    """All namespaces of a cluster, kept up to date by a watch; `read` asks the API server and remembers the answer."""

    def __init__(
        self,
        client: KubeClient,
        *,
        lookup_timeout: timedelta,
        on_restart: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._timeout = lookup_timeout.total_seconds()
        self._namespaces: dict[str, tuple[int, Namespace]] = {}
        self._reading: set[str] = set()
        """Names that are being read live. A list or a DELETED event removes a name from it."""
        self._lock = threading.Lock()  # the watch's thread and the server's, with live reads, both write
        self._readers = ThreadPoolExecutor(8, "namespace-reader")
        self._reads = LiveReads(self._fetch, clock=clock)
        self._informer = Informer(client, PATH, self, metadata_only=True, on_restart=on_restart, clock=clock)

    def __len__(self) -> int:
        """Return how many namespaces are known."""
        return len(self._namespaces)

    @property
    def silence(self) -> float:
        """Return the seconds since the API server last sent something on the watch, or infinity before that."""
        return self._informer.silence

    def start(self) -> None:
        """Start the watch."""
        self._informer.start()

    def stop(self) -> None:
        """Stop the watch."""
        self._informer.stop()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def problem(self) -> str | None:
        """Return why this replica is not ready for reviews yet; None if it is ready."""
        return None if self._informer.synced else "the namespaces have not been listed yet"

    def known(self, name: str) -> Namespace | None:
        """Return the namespace from the watch or the last live read (the newer one), or None if it is not known."""
        entry = self._namespaces.get(name)
        return entry[1] if entry else None

    def fresh(self) -> bool:
        """Return whether the API server has sent something on the watch recently enough."""
        return self._informer.reliable

    async def read(self, name: str) -> Namespace:
        """Read it from the API server, within limits (webhook.cluster.live_reads). Raises LookupFailedError."""
        if not re.fullmatch(DNS_LABEL, name):  # no namespace has such a name, and it would become part of a path
            raise LookupFailedError("the name of the review's namespace is invalid", LookupOutcome.NOT_FOUND)
        return await self._reads.read(name, known=name in self._namespaces)

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        """Take the list of all namespaces. A live read that started before it adds no namespace to it."""
        listed = {item["metadata"]["name"]: (_version(item), _namespace(item)) for item in objects}
        with self._lock:
            for name in listed.keys() & self._namespaces.keys():  # a live read may be ahead of the list
                listed[name] = max(listed[name], self._namespaces[name], key=lambda entry: entry[0])
            self._namespaces = listed
            self._reading.clear()

    def changed(self, type: str, object: dict[str, Any]) -> None:  # noqa: A002 - the name in the event
        """Take one event of the watch."""
        name = object["metadata"]["name"]
        with self._lock:
            if type == "DELETED":
                self._namespaces.pop(name, None)
                self._reading.discard(name)
            else:
                self._put(object)

    async def _fetch(self, name: str) -> Namespace:
        loop = asyncio.get_running_loop()
        with self._lock:
            self._reading.add(name)
        try:
            async with asyncio.timeout(self._timeout):
                found = await loop.run_in_executor(self._readers, self._get, name)
        except KubeNotFoundError as error:
            raise LookupFailedError(error.message, LookupOutcome.NOT_FOUND) from error
        except KubeError as error:
            raise LookupFailedError(error.message) from error
        except TimeoutError:
            raise LookupFailedError(f"no answer within {self._timeout:g} s") from None
        else:
            with self._lock:
                if name in self._reading:  # otherwise it was deleted, or all were listed, after the read started
                    self._put(found)
            return _namespace(found)
        finally:
            with self._lock:
                self._reading.discard(name)

    def _get(self, name: str) -> dict[str, Any]:
        return self._client.get(f"{PATH}/{name}", metadata_only=True, timeout=self._timeout)

    def _put(self, found: Mapping[str, Any]) -> None:
        name = found["metadata"]["name"]
        entry = self._namespaces.get(name)
        if entry is None or entry[0] <= _version(found):  # a live read may be ahead of the watch
            self._namespaces[name] = (_version(found), _namespace(found))


def _version(found: Mapping[str, Any]) -> int:
    """Return the resource version, which grows with time for all objects of a kind (KEP-5504)."""
    return int(found["metadata"]["resourceVersion"])


def _namespace(found: Mapping[str, Any]) -> Namespace:
    """Keep only what affects decisions: ten thousand namespaces must not need much memory."""
    metadata = found["metadata"]
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name == LABEL}
    prefix = f"{ANNOTATION_GROUP}/"
    annotations = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if name.startswith(prefix)
    }
    return Namespace(metadata["name"], _LABELLED if labels == _LABELLED else labels or _NONE, annotations or _NONE)


# All equal mappings share one object.
_NONE: Mapping[str, str] = {}
_LABELLED: Mapping[str, str] = {LABEL: "true"}
