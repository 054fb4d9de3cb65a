"""The informer's requests, waits and log lines: the API server follows a script, and most tests need no thread."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.kube import FakeKube
from tests.support.waiting import wait_until
from webhook.cluster import informer as module
from webhook.cluster.informer import Informer
from webhook.cluster.kube import KubeClient, KubeForbiddenError, KubeGoneError, KubeUnavailableError, WatchEvent

PATH = "/api/v1/namespaces"
AWAY = KubeUnavailableError("the API server is away")
TOO_OLD = KubeGoneError("too old resource version", status=410)
NEVER_ENDING = 1000


def page(*names: str, version: str = "1", **metadata: str) -> dict[str, Any]:
    return {
        "items": [{"metadata": {"name": name}} for name in names],
        "metadata": {"resourceVersion": version} | metadata,
    }


def event(kind: str, version: str) -> WatchEvent:
    return WatchEvent(kind, {"metadata": {"resourceVersion": version}})


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


@dataclass
class Watched:
    """A watch: it is open for some seconds, and gives its events at the end."""

    events: tuple[WatchEvent, ...] = ()
    seconds: float = 60.0


@dataclass
class Scripted:
    """An API server that gives one answer after the other, and the informer that follows it, until they are used up."""

    answers: list[object]
    params: Mapping[str, str] | None = None
    reads: int | None = None
    """How many objects the follower reads of a list; None for all."""
    requests: list[tuple[Any, ...]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    restarts: int = 0
    silences: list[float] = field(default_factory=list)
    """The informer's silence at each request."""
    now: float = 1000.0
    waits: Waits = field(default_factory=lambda: Waits(NEVER_ENDING))

    def follow(self, **options: Any) -> Scripted:
        """Run the informer in this thread."""
        self.informer = Informer(
            cast("KubeClient", self), PATH, self, on_restart=self.restarted, clock=lambda: self.now, **options
        )
        self.informer._stopping = self.waits
        self.informer._run()
        return self

    def restarted(self) -> None:
        self.restarts += 1

    def list(self, path: str, *, params: Mapping[str, object], metadata_only: bool) -> dict[str, Any]:
        return cast("dict[str, Any]", self._answer(("list", path, dict(params), metadata_only)))

    def watch(
        self, path: str, *, resource_version: str, params: Mapping[str, object], seconds: int, metadata_only: bool
    ) -> Iterable[WatchEvent]:
        watched = cast("Watched", self._answer(("watch", path, resource_version, dict(params), seconds, metadata_only)))

        def events() -> Iterator[WatchEvent]:
            self.now += watched.seconds
            yield from watched.events

        return events()

    def _answer(self, request: tuple[Any, ...]) -> object:
        self.silences.append(self.informer.silence)
        if not self.answers:
            self.waits.set()
            raise AWAY
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:
        for number, found in enumerate(objects, 1):
            self.told.append(found["metadata"]["name"])
            if number == self.reads:
                return

    def changed(self, kind: str, changed: dict[str, Any]) -> None:
        self.told.append(f"{kind} {changed['metadata']['resourceVersion']}")


def follow(*answers: object, **options: Any) -> Scripted:
    return Scripted(list(answers)).follow(**options)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance takes the lower limit, and the middle."""
    monkeypatch.setattr(random, "randint", lambda low, high: (low, high))
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """Return the log lines as the log has them: level, event and fields."""
    wanted = ("path", "problem", "error", "retry")
    return [
        {"level": record.levelname, "event": record.message}
        | {name: value for name, value in vars(record).items() if name in wanted}
        for record in caplog.records
    ]


@pytest.mark.usefixtures("seconds")
def test_a_list_is_read_page_by_page_and_watched_from_its_last_version() -> None:
    followed = follow(
        page("a", version="8", **{"continue": "more"}),
        page("b", "c", version="9"),
        Watched((event("MODIFIED", "10"),)),
        params={"fieldSelector": "metadata.name=x"},
        metadata_only=True,
    )
    selector = {"fieldSelector": "metadata.name=x"}
    assert followed.requests == [
        ("list", PATH, {**selector, "limit": 500}, True),
        ("list", PATH, {**selector, "limit": 500, "continue": "more"}, True),
        ("watch", PATH, "9", selector, (300, 600), True),
    ]
    assert followed.told == ["a", "b", "c", "MODIFIED 10"]


@pytest.mark.usefixtures("seconds")
def test_whole_objects_of_all_names_are_asked_for_by_default() -> None:
    followed = follow(page(), Watched())
    assert followed.requests == [("list", PATH, {"limit": 500}, False), ("watch", PATH, "1", {}, (300, 600), False)]


def test_what_the_follower_does_not_read_is_read_all_the_same() -> None:
    script = Scripted([page("a", "b", version="8", **{"continue": "more"}), page("c", version="9"), Watched()], reads=1)
    script.follow()
    assert script.told == ["a"]
    assert script.requests[-1][2] == "9"


def test_the_follower_gets_changes_but_not_bookmarks_and_the_watch_continues_from_the_last_of_both() -> None:
    events = event("BOOKMARK", "5"), event("ADDED", "6"), event("BOOKMARK", "7"), event("DELETED", "8")
    followed = follow(page(), Watched(events), Watched())
    assert followed.told == ["ADDED 6", "DELETED 8"]
    assert [request[2] for request in followed.requests if request[0] == "watch"] == ["1", "8"]
    only_a_bookmark = follow(page(), Watched(events[:1]), Watched())
    assert [request[2] for request in only_a_bookmark.requests if request[0] == "watch"] == ["1", "5"]


def test_a_list_and_an_open_watch_end_the_silence() -> None:
    script = Scripted([page(), AWAY, Watched(seconds=70), Watched()])
    assert script.follow().silences == [float("inf"), 0, 0, 70, 60]
    assert script.informer.synced


def test_an_event_ends_the_silence() -> None:
    assert follow(page(), Watched((event("ADDED", "2"),), seconds=70)).silences == [float("inf"), 0, 0]


def test_nothing_is_known_before_the_list() -> None:
    script = follow(AWAY)
    assert script.informer.synced is False
    assert not script.informer.reliable


@pytest.mark.parametrize(
    ("watched", "restarts"),
    [
        (Watched(seconds=0), 1),
        (Watched(seconds=module.SHORTEST_WATCH - 0.01), 1),
        (Watched(seconds=module.SHORTEST_WATCH), 0),
        (Watched((event("BOOKMARK", "2"),), seconds=0), 0),
    ],
)
def test_only_a_watch_that_ends_at_once_without_an_event_has_failed(watched: Watched, restarts: int) -> None:
    assert follow(page(), watched, Watched()).restarts == restarts


@pytest.mark.usefixtures("seconds")
def test_after_too_old_the_list_is_read_again_at_once_and_a_wait_follows_only_if_that_fails() -> None:
    once = follow(page(), TOO_OLD, page(), Watched())
    assert (once.waits.waits, once.restarts) == ([], 1)
    twice = follow(page(), TOO_OLD, page(), TOO_OLD, page(), Watched())
    assert (twice.waits.waits, twice.restarts) == ([0.2], 2)
    assert [request[0] for request in twice.requests] == ["list", "watch", "list", "watch", "list", "watch"]


@pytest.mark.usefixtures("seconds")
def test_an_event_makes_the_next_wait_short_again_and_a_list_possible_at_once() -> None:
    seen = Watched((event("ADDED", "2"),))
    followed = follow(page(), AWAY, AWAY, seen, AWAY, TOO_OLD, page(), seen, TOO_OLD, page(), TOO_OLD, page())
    # The last is for the second 410 without an event in between.
    assert followed.waits.waits == [0.2, 0.4, 0.2, 0.2]
    assert [request[0] for request in followed.requests].count("list") == 4


@pytest.mark.usefixtures("seconds")
def test_what_fails_and_when_it_is_tried_again_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    forbidden = KubeForbiddenError("cannot watch namespaces", status=403)
    follow(page(), AWAY, forbidden, TOO_OLD, page(), Watched(seconds=0))
    listed = {"level": "INFO", "event": "listed", "path": PATH}
    failed = {"level": "WARNING", "event": "watch failed", "path": PATH}
    assert lines(caplog) == [
        listed,
        {**failed, "problem": "the API server is away", "retry": 0.2},
        {**failed, "problem": "cannot watch namespaces", "retry": 0.4},
        {"level": "INFO", "event": "watch too old", "path": PATH, "problem": "too old resource version"},
        listed,
        {**failed, "problem": "the watch ended at once, without an event", "retry": 0.8},
    ]


def test_an_unexpected_answer_is_listed_again_after_longer_and_longer_waits(caplog: pytest.LogCaptureFixture) -> None:
    odd = SimpleNamespace(type="ADDED", object={})
    number = 8
    followed = follow(*[answer for _ in range(number) for answer in (page(), Watched((cast("WatchEvent", odd),)))])
    expected = [min(0.2 * 2**n, 10.0) for n in range(number)]
    assert followed.waits.waits == expected
    assert followed.restarts == number
    failed = [line for line in lines(caplog) if line["event"] == "watch failed"]
    assert [line["retry"] for line in failed] == expected
    assert {(line["level"], line["path"]) for line in failed} == {("ERROR", PATH)}
    assert all(str(line["error"]).startswith("KeyError at informer.py:") for line in failed)


def test_a_thread_that_does_not_end_holds_up_neither_the_stop_nor_the_process() -> None:
    informer = Informer(cast("KubeClient", Scripted([])), PATH, Scripted([]))
    assert informer._thread.daemon
    assert informer._thread.name == f"informer {PATH}"
    waited: list[float] = []
    join: Callable[[float], None] = waited.append
    informer._thread = cast("Any", SimpleNamespace(join=join))
    informer.stop()
    assert waited == [5]


@pytest.mark.parametrize(("error", "longest"), [(AWAY, 10), (KubeForbiddenError("no", status=403), 60)])
@pytest.mark.parametrize("chance", [min, max])
def test_it_waits_longer_after_each_failure_up_to_a_limit_and_not_as_long_as_other_replicas(
    error: Exception, longest: float, chance: Callable[[float, float], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", chance)
    expected = [chance(0.7, 1.3) * min(module.FIRST_WAIT * 2**number, longest) for number in range(12)]
    assert follow(*[error] * 12).waits.waits == pytest.approx(expected)


def test_it_stops_at_once_while_it_waits_for_an_event() -> None:
    informer = Informer(FakeKube().client, PATH, Scripted([]))
    informer.start()
    wait_until(lambda: informer._watch is not None, "the watch", every=0.005)
    informer.stop()
    wait_until(lambda: not informer._thread.is_alive(), "its thread to end", every=0.005)
