"""Follows a collection of the API server in a thread: lists it, watches it, and starts again after any failure.

Used for all namespaces (webhook.cluster.namespaces) and for single objects (webhook.cluster.named).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from webhook.cluster.kube import (
    LONGEST_SILENCE,
    KubeClient,
    KubeError,
    KubeForbiddenError,
    KubeGoneError,
    KubeUnavailableError,
    Params,
    Watch,
)
from webhook.errors import error_location

PAGE = 500
"""Objects per page of a list, so that decoding ten thousand needs little memory."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
"""Seconds to wait after a first failure, and the longest wait. Each failure doubles the wait."""
LONGEST_WAIT_FORBIDDEN = 60.0
"""The longest wait in seconds after 403: the answer stays the same until somebody changes RBAC."""
SHORTEST_WATCH = 1.0
"""Seconds; a watch that ends sooner, and without an event, has failed (client-go's reflector has the same rule)."""
STALE_AFTER = LONGEST_SILENCE + 10
"""Seconds of silence after which a watch is not relied on. A quiet watch is opened again before that."""

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """Receives what an informer learns. All calls come from the informer's thread."""

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        """Take the list of all objects."""
        ...

    def changed(self, type: str, object: dict[str, Any]) -> None:  # noqa: A002 - the name in the event
        """Take one event: ADDED, MODIFIED or DELETED."""
        ...


class Informer:
    """Keeps a follower up to date with a collection."""

    def __init__(
        self,
        client: KubeClient,
        path: str,
        follower: Follower,
        *,
        params: Params | None = None,
        metadata_only: bool = False,
        on_restart: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._client, self._path, self._follower = client, path, follower
        self._params, self._metadata_only = params or {}, metadata_only
        self._on_restart = on_restart
        self._thread = threading.Thread(target=self._run, name=f"informer {path}", daemon=True)
        self._stopping = threading.Event()
        self._watch: Watch | None = None
        self._heard: float | None = None
        self._synced = False

    def start(self) -> None:
        """Start to list and watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for it (5 seconds at most)."""
        self._stopping.set()
        if self._watch:
            self._watch.close()
        self._thread.join(5)

    @property
    def synced(self) -> bool:
        """Whether the collection has been listed once."""
        return self._synced

    @property
    def silence(self) -> float:
        """Seconds since the API server last sent something or accepted the watch; infinite before that."""
        return float("inf") if self._heard is None else self._clock() - self._heard

    @property
    def reliable(self) -> bool:
        """Whether the follower's state can be relied on."""
        return self.silence < STALE_AFTER

    def _run(self) -> None:
        version: str | None = None
        wait = FIRST_WAIT
        listed_again = False
        while not self._stopping.is_set():
            try:
                if version is None:
                    version = self._list()
                    _log.info("listed", extra={"path": self._path})
                began, silent = self._clock(), True
                for event in self._open(version):
                    self._heard, silent = self._clock(), False
                    version = event.object["metadata"]["resourceVersion"]
                    wait, listed_again = FIRST_WAIT, False
                    if event.type != "BOOKMARK":
                        self._follower.changed(event.type, event.object)
                if silent and self._clock() < began + SHORTEST_WATCH:
                    raise KubeUnavailableError("the watch ended at once, without an event")  # noqa: TRY301 - as any other
            except KubeError as error:
                if self._stopping.is_set():
                    return
                self._on_restart()
                if isinstance(error, KubeGoneError):
                    version = None
                    if not listed_again:  # the API server works, but no longer has this old version
                        listed_again = True
                        _log.info("watch too old", extra={"path": self._path, "problem": error.message})
                        continue
                _log.warning("watch failed", extra={"path": self._path, "problem": error.message, "retry": wait})
                self._stopping.wait(wait * random.uniform(0.7, 1.3))  # noqa: S311 - no secret
                forbidden = isinstance(error, KubeForbiddenError)
                wait = min(wait * 2, LONGEST_WAIT_FORBIDDEN if forbidden else LONGEST_WAIT)
            except Exception as error:  # noqa: BLE001 - an unexpected answer must not end the watch
                if self._stopping.is_set():
                    return
                version = None
                self._on_restart()
                _log.error("watch failed", extra={"path": self._path, "error": error_location(error), "retry": wait})
                self._stopping.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT)

    def _open(self, version: str) -> Watch:
        self._watch = watch = self._client.watch(
            self._path,
            resource_version=version,
            params=self._params,
            seconds=random.randint(300, 600),  # noqa: S311 - so that replicas do not come at the same time
            metadata_only=self._metadata_only,
        )
        self._heard = self._clock()  # the API server answers; a first event or bookmark may take long
        if self._stopping.is_set():  # `stop` may have looked for the watch before it was here
            watch.close()
        return watch

    def _list(self) -> str:
        version: str

        def pages() -> Iterator[dict[str, Any]]:
            # One page at a time: ten thousand objects at once would cost more memory than the webhook itself.
            nonlocal version
            params = {**self._params, "limit": PAGE}
            while True:
                page = self._client.list(self._path, params=params, metadata_only=self._metadata_only)
                yield from page.get("items") or []
                version = str(page["metadata"]["resourceVersion"])
                token = page["metadata"].get("continue")
                if not token:
                    return
                params["continue"] = token

        objects = pages()
        self._follower.replaced(objects)
        for _ in objects:  # parts that the follower did not read
            pass
        self._heard = self._clock()
        self._synced = True
        return version
