from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from tests.cluster.controlplane import wait_until
from webhook.informer import Informer
from webhook.kube import KubeClient


class Watch:
    def __init__(self, events: list[Any]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Any]:
        time.sleep(0.01)
        return iter(self._events)

    def close(self) -> None: ...


class Client:
    """Answers once with an event that nobody foresaw, and then as an API server does."""

    def __init__(self) -> None:
        self.lists = 0

    def watch(self, *_: object, **__: object) -> Watch:
        return Watch([SimpleNamespace(type="MODIFIED", object={})] if self.lists == 1 else [])

    def list(self, *_: object, **__: object) -> dict[str, Any]:
        self.lists += 1
        return {"items": [], "metadata": {"resourceVersion": "1"}}


class Follower:
    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        assert not list(objects)

    def changed(self, kind: str, changed: dict[str, Any]) -> None:
        raise AssertionError(kind, changed)


def test_an_event_that_nobody_foresaw_does_not_end_the_watch() -> None:
    client = Client()
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
