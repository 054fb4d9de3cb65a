from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.kube import FakeKube
from tests.support.waiting import wait_until
from webhook.cluster import informer as module
from webhook.cluster.informer import Informer
from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeGoneError, KubeUnavailableError


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
    """Returns watches that end after some seconds, the first with an event that nobody foresaw."""

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


class Forgetful(Client):
    """An API server that a number of times no longer has the versions before its last list."""

    def __init__(self, times: int) -> None:
        super().__init__(seconds=600)
        self._times = times

    def watch(self, *arguments: object, **named: object) -> Watch:
        if self.watches < self._times:
            self.watches += 1
            raise KubeGoneError("too old resource version", status=410)
        return super().watch(*arguments, **named)


class Telling(Client):
    """An API server that sends bookmarks and changes, then waits."""

    def watch(self, *_: object, **__: object) -> Watch:
        self.watches += 1
        events = [("BOOKMARK", "5"), ("ADDED", "6"), ("BOOKMARK", "7"), ("DELETED", "8")] if self.watches == 1 else []
        return Watch(
            [SimpleNamespace(type=kind, object={"metadata": {"resourceVersion": at}}) for kind, at in events],
            seconds=0 if events else 600,
        )


class Follower:
    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        assert not list(objects)

    def changed(self, kind: str, changed: dict[str, Any]) -> None:
        raise AssertionError(kind, changed)


def test_an_unexpected_event_does_not_end_the_watch() -> None:
    client = Client(odd=True, seconds=600)
    restarts: list[bool] = []
    informer = Informer(
        cast("KubeClient", client), "/api/v1/namespaces", Follower(), on_restart=lambda: restarts.append(True)
    )
    informer.start()
    try:
        wait_until(lambda: client.lists == 2, "the collection to be listed again")
        assert restarts == [True]
    finally:
        informer.stop()


def test_a_watch_that_ends_at_once_again_and_again_is_a_failure() -> None:
    client = Client(seconds=0)
    restarts: list[bool] = []
    informer = Informer(
        cast("KubeClient", client),
        "/api/v1/namespaces",
        Follower(),
        on_restart=lambda: restarts.append(True),
        clock=lambda: 1000.0,  # however slow the machine is, the watch ends at once
    )
    informer._stopping = Waits(3)
    informer.start()
    informer._thread.join()
    assert (client.lists, client.watches, len(restarts)) == (1, 3, 3)


@pytest.mark.parametrize(("times", "lists"), [(1, 2), (2, 2)], ids=["once", "again after the list"])
def test_after_too_old_the_list_is_read_again_at_once_and_a_pause_follows_only_if_that_fails(
    times: int, lists: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 600.0)
    client = Forgetful(times)
    restarts: list[bool] = []
    informer = Informer(
        cast("KubeClient", client), "/api/v1/namespaces", Follower(), on_restart=lambda: restarts.append(True)
    )
    informer.start()
    try:
        # the restart is counted after the watch has failed
        wait_until(lambda: (client.watches, len(restarts)) == (2, times), "the second watch", every=0.01)
        assert client.lists == lists
    finally:
        informer.stop()


def test_the_follower_gets_changes_but_not_bookmarks_and_the_watch_continues_from_the_last_of_both() -> None:
    told: list[str] = []

    class Noting(Follower):
        def changed(self, kind: str, changed: dict[str, Any]) -> None:
            told.append(f"{kind} {changed['metadata']['resourceVersion']}")

    client = Telling(seconds=600)
    versions: list[object] = []
    watch = client.watch

    def noted(*arguments: object, **named: object) -> Watch:
        versions.append(named["resource_version"])
        return watch(*arguments, **named)

    client.watch = noted  # type: ignore[method-assign]
    informer = Informer(cast("KubeClient", client), "/api/v1/namespaces", Noting())
    informer.start()
    try:
        wait_until(lambda: len(versions) == 2, "the second watch", every=0.01)
        assert told == ["ADDED 6", "DELETED 8"]
        assert versions == ["1", "8"]
        assert client.lists == 1
    finally:
        informer.stop()


class Waits(threading.Event):
    """Notes how long the informer would wait, and ends it after some times."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._number = number

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if len(self.waits) == self._number:
            self.set()
        return self.is_set()


class Failing(Client):
    """An API server that cannot be reached, or refuses."""

    def __init__(self, error: KubeError) -> None:
        super().__init__(seconds=0)
        self._error = error

    def list(self, *_: object, **__: object) -> dict[str, Any]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "longest"), [(KubeUnavailableError("away"), 10), (KubeForbiddenError("no", status=403), 60)]
)
def test_it_waits_longer_after_each_failure_up_to_a_limit(error: KubeError, longest: float) -> None:
    informer = Informer(cast("KubeClient", Failing(error)), "/api/v1/namespaces", Follower())
    waits = Waits(12)
    informer._stopping = waits
    informer.start()
    informer._thread.join()
    expected = [min(module.FIRST_WAIT * 2**number, longest) for number in range(12)]
    assert all(0.7 * wait <= waited <= 1.3 * wait for wait, waited in zip(expected, waits.waits, strict=True))
    assert len({waited / wait for wait, waited in zip(expected, waits.waits, strict=True)}) > 1  # not all at once


def test_a_watch_that_has_just_been_opened_is_not_silent() -> None:
    """Its first bookmark may take long; until then, the last one of its predecessor would count."""
    now = [1000.0]
    client = Client(seconds=0)
    watch = client.watch

    def later(*arguments: object, **named: object) -> Watch:
        now[0] += 80
        return watch(*arguments, **named) if client.watches == 0 else Watch([], seconds=600)

    client.watch = later  # type: ignore[method-assign]
    informer = Informer(cast("KubeClient", client), "/api/v1/namespaces", Follower(), clock=lambda: now[0])
    informer.start()
    try:
        wait_until(lambda: now[0] == 1160, "the second watch", every=0.005)
        wait_until(lambda: informer.silence == 0, "it to be heard of", every=0.005)
        assert informer.reliable
    finally:
        informer.stop()


def test_it_stops_at_once_while_it_waits_for_an_event() -> None:
    informer = Informer(FakeKube().client, "/api/v1/namespaces", Follower())
    informer.start()
    wait_until(lambda: informer._watch is not None, "the watch", every=0.005)
    informer.stop()
    wait_until(lambda: not informer._thread.is_alive(), "its thread to end", every=0.005)
