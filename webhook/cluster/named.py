"""One object of the API server, from a watch of its name. It is read live if the watch cannot be relied on.

RBAC allows `list` and `watch` for one name if they are limited to it with a field selector, so this needs no right to
see other objects. Without the right to watch, it polls slowly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from webhook.cluster.informer import Informer
from webhook.cluster.kube import KubeClient, KubeNotFoundError

POLL_EVERY = 30.0
"""Seconds between two reads while the watch does not work."""


class NamedObject:
    """The object `name` of a collection. Safe to use from several threads."""

    def __init__(
        self, client: KubeClient, collection: str, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._path, self._clock = client, f"{collection}/{name}", clock
        self.on_change: Callable[[], None] = lambda: None
        """Called from the watch's thread after each change."""
        self._lock = threading.Lock()
        self._version = 0
        self._object: dict[str, Any] | None = None
        self._loaded = False
        self._polled: float = 0.0
        self._informer = Informer(
            client, collection, self, params={"fieldSelector": f"metadata.name={name}"}, clock=clock
        )

    def start(self) -> None:
        """Start the watch."""
        self._informer.start()

    def stop(self) -> None:
        """Stop the watch."""
        self._informer.stop()

    def known(self) -> dict[str, Any] | None:
        """Return the object as last seen; None if it does not exist.

        While the watch cannot be relied on, the object is read live every POLL_EVERY seconds. Raises KubeError.
        """
        now = self._clock()
        if self._informer.reliable or (self._loaded and now < self._polled + POLL_EVERY):
            return self._object
        self._polled = now
        return self.read()

    def read(self) -> dict[str, Any] | None:
        """Read the object from the API server; None if it does not exist. Raises KubeError."""
        before = self._version
        try:
            found = self._client.get(self._path)
        except KubeNotFoundError:
            with self._lock:
                if self._version == before:  # else the watch has seen it in the meantime
                    self._object = None
        else:
            self.remember(found)
        self._loaded = True
        return self._object

    def remember(self, found: dict[str, Any]) -> None:
        """Take the object from an answer of the API server, unless a newer version is known."""
        self._put(found, found)

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        """Take the list of the objects with the name: one, or none."""
        listed = list(objects)
        if listed:
            self.remember(listed[0])
        else:
            with self._lock:
                self._object = None
        self._loaded = True
        self.on_change()

    def changed(self, type: str, object: dict[str, Any]) -> None:  # noqa: A002 - the name in the event
        """Take one event of the watch."""
        self._put(object, None if type == "DELETED" else object)
        self.on_change()

    def _put(self, seen: dict[str, Any], found: dict[str, Any] | None) -> None:
        version = int(seen["metadata"]["resourceVersion"])
        with self._lock:
            if version >= self._version:
                self._version, self._object = version, found
