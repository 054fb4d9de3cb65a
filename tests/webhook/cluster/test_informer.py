from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from tests.support.waiting import wait_until
from webhook.cluster.informer import Informer
from webhook.cluster.kube import KubeClient


class Watch:
    def __init__(self, events: list[Any], *, seconds: float) -> None:
        self._events, self._seconds = events, seconds
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self._closed.wait(self._seconds)
        return iter(self._events)

    def close(self) -> None:
        self._closed.set()


class Client:
    """Gives watches that end after some seconds, the first with an event that nobody foresaw."""

    def __init__(self, *, odd: bool = False, seconds: float) -> None:
        self._odd, self._seconds = odd, seconds
        self.lists = self.watches = 0

    def watch(self, *_: object, **__: object) -> Watch:
        self.watches += 1
        if self._odd and self.watches == 1:
            return Watch([SimpleNamespace(type="MODIFIED", object={})], seconds=0)
        return Watch([], seconds=self._seconds)

    def list(self, *_: object, **__: object) -> dict[str, Any]:
        self.lists += 1
        return {"items": [], "metadata": {"resourceVersion": "1"}}


class Follower:
    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        assert not list(objects)

    def changed(self, kind: str, changed: dict[str, Any]) -> None:
        raise AssertionError(kind, changed)


def test_an_event_that_nobody_foresaw_does_not_end_the_watch() -> None:
    client = Client(odd=True, seconds=30)
    restarts: list[bool] = []
    informer = Informer(
        cast("KubeClient", client), "/api/v1/namespaces", Follower(), on_restart=lambda: restarts.append(True)
    )
    informer.start()
    try:
        wait_until(lambda: client.lists == 2, "the collection to be listed again", seconds=10)
        assert restarts == [True]
    finally:
        informer.stop()


def test_a_watch_that_ends_at_once_again_and_again_is_a_failure() -> None:
    client = Client(seconds=0)
    restarts: list[bool] = []
    informer = Informer(
        cast("KubeClient", client), "/api/v1/namespaces", Follower(), on_restart=lambda: restarts.append(True)
    )
    informer.start()
    try:
        wait_until(lambda: len(restarts) == 3, "the third failure", seconds=10)
        assert (client.lists, client.watches) == (1, 3)
    finally:
        informer.stop()
