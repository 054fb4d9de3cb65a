"""Which namespaces are known after events, lists and live reads in any order. The API server is a fake."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.support.waiting import DEADLINE, wait_until
from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError, KubeUnavailableError
from webhook.cluster.live_reads import BURST, MISSING_FOR
from webhook.cluster.namespaces import NamespaceWatch, StaticNamespaces
from webhook.core.configuration import Namespace
from webhook.core.lookup import LookupFailedError

EXPERIMENT = "mlflow.kubeflow.org/experiment"


def found(name: str, version: int, *, experiment: str = "", labelled: bool = True) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "resourceVersion": str(version),
            "labels": {"mlflow-enabled": "true" if labelled else "false", "team": "a"},
            "annotations": {EXPERIMENT: experiment or str(version), "note": "x"},
        }
    }


class Client:
    """Answers each read with the next answer, after calling `meanwhile`."""

    def __init__(self, *answers: dict[str, Any] | KubeError, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.answers, self.meanwhile = list(answers), meanwhile
        self.paths: list[str] = []
        self.timeout = 600.0

    def get(self, path: str, *, metadata_only: bool, timeout: float) -> dict[str, Any]:
        assert metadata_only
        assert timeout == self.timeout
        assert threading.current_thread().name.startswith("namespace-reader")
        self.paths.append(path)
        answer = self.answers.pop(0)
        self.meanwhile()
        if isinstance(answer, KubeError):
            raise answer
        return answer


@contextmanager
def watching(
    client: Client | None = None, *, timeout: float = 600, clock: Callable[[], float] = time.monotonic
) -> Iterator[NamespaceWatch]:
    client = client or Client()
    client.timeout = timeout
    watch = NamespaceWatch(cast("KubeClient", client), lookup_timeout=timedelta(seconds=timeout), clock=clock)
    try:
        yield watch
    finally:
        watch._readers.shutdown(wait=True)


def experiment(namespace: Namespace | None) -> str | None:
    return namespace.annotations[EXPERIMENT] if namespace else None


def failure(watch: NamespaceWatch, name: str) -> LookupFailedError:
    with pytest.raises(LookupFailedError) as caught:
        asyncio.run(watch.read(name))
    return caught.value


def outcome(watch: NamespaceWatch, name: str) -> str:
    return str(failure(watch, name).outcome)


def test_events_and_lists_are_followed() -> None:
    with watching() as watch:
        watch.replaced([found("a", 1), found("b", 2)])
        watch.changed("ADDED", found("c", 3))
        watch.changed("MODIFIED", found("a", 4))
        watch.changed("DELETED", found("b", 5))
        assert [experiment(watch.known(name)) for name in "abc"] == ["4", None, "3"]
        assert len(watch) == 2
        watch.replaced([found("c", 6)])
        assert [experiment(watch.known(name)) for name in "abc"] == [None, None, "6"]


def test_only_fields_that_affect_decisions_are_kept() -> None:
    with watching() as watch:
        watch.replaced([found("a", 1)])
        kept = watch.known("a")
        assert kept
        assert (kept.name, kept.labels, kept.annotations) == ("a", {"mlflow-enabled": "true"}, {EXPERIMENT: "1"})


def test_nothing_is_kept_of_reads_that_have_ended() -> None:
    """Anybody can have made-up names read."""
    with watching(Client(KubeNotFoundError("not found", status=404), found("b", 1))) as watch:
        assert outcome(watch, "a") == "not_found"
        asyncio.run(watch.read("b"))
        assert not watch._reading
        assert len(watch) == 1


def test_another_value_of_the_label_is_kept_and_equal_labels_share_an_object() -> None:
    with watching() as watch:
        watch.replaced([found("a", 1), found("b", 2), found("c", 3, labelled=False)])
        a, b, c = map(watch.known, "abc")
        assert a
        assert b
        assert c
        assert (a.enabled, c.enabled, c.labels) == (True, False, {"mlflow-enabled": "false"})
        assert a.labels is b.labels  # ten thousand namespaces must not cost much memory


def test_a_list_of_what_is_known_already_changes_nothing() -> None:
    with watching() as watch:
        for _ in range(2):
            watch.replaced([found("a", 1)])
        assert experiment(watch.known("a")) == "1"


def test_a_live_read_is_returned_and_known_afterwards() -> None:
    client = Client(found("a", 7))
    with watching(client) as watch:
        assert experiment(asyncio.run(watch.read("a"))) == "7"
        assert experiment(watch.known("a")) == "7"
        assert client.paths == ["/api/v1/namespaces/a"]
        assert not watch._reading  # nothing of the read stays in memory


def test_an_event_that_is_older_than_a_live_read_does_not_undo_it() -> None:
    with watching(Client(found("a", 7))) as watch:
        asyncio.run(watch.read("a"))
        watch.changed("MODIFIED", found("a", 6))
        assert experiment(watch.known("a")) == "7"
        watch.changed("MODIFIED", found("a", 8))
        assert experiment(watch.known("a")) == "8"


def test_a_list_that_is_older_than_a_live_read_does_not_undo_it() -> None:
    with watching(Client(found("a", 7))) as watch:
        asyncio.run(watch.read("a"))
        watch.replaced([found("a", 6), found("b", 1)])
        assert [experiment(watch.known(name)) for name in "ab"] == ["7", "1"]


def test_a_live_read_that_is_older_than_an_event_does_not_undo_it() -> None:
    with watching() as watch:
        watch._client = cast(
            "KubeClient", Client(found("a", 6), meanwhile=lambda: watch.changed("ADDED", found("a", 7)))
        )
        asyncio.run(watch.read("a"))
        assert experiment(watch.known("a")) == "7"


def test_a_live_read_that_began_before_a_deletion_does_not_put_the_namespace_back() -> None:
    with watching() as watch:
        watch.replaced([found("a", 5)])
        gone = Client(found("a", 5), meanwhile=lambda: watch.changed("DELETED", found("a", 6)))
        watch._client = cast("KubeClient", gone)
        asyncio.run(watch.read("a"))
        assert watch.known("a") is None


def test_a_live_read_that_began_before_a_list_without_the_namespace_does_not_put_it_back() -> None:
    with watching() as watch:
        watch.replaced([found("a", 5)])
        watch._client = cast("KubeClient", Client(found("a", 5), meanwhile=lambda: watch.replaced([])))
        asyncio.run(watch.read("a"))
        assert watch.known("a") is None


def test_a_namespace_that_is_made_again_after_its_deletion_is_known() -> None:
    with watching(Client(found("a", 8))) as watch:
        watch.changed("DELETED", found("a", 6))
        asyncio.run(watch.read("a"))
        assert experiment(watch.known("a")) == "8"


def test_a_list_waits_for_an_event_that_is_being_taken() -> None:
    """Both write: a list must not overwrite what an event or a read has just changed."""
    with watching() as watch:
        done = threading.Event()

        def replace() -> None:
            watch.replaced([])
            done.set()

        with watch._lock:
            thread = threading.Thread(target=replace)
            thread.start()
            assert not done.wait(0.05)
        thread.join()
        assert done.is_set()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KubeNotFoundError("not found", status=404), "not_found"),
        (KubeForbiddenError("forbidden", status=403), "failed"),
        (KubeUnavailableError("away"), "failed"),
    ],
)
def test_a_read_that_fails_says_how_and_why(error: KubeError, expected: str) -> None:
    with watching(Client(error)) as watch:
        found_error = failure(watch, "a")
        assert (found_error.outcome, str(found_error)) == (expected, error.message)
        assert watch.known("a") is None


def test_a_read_that_takes_too_long_has_failed() -> None:
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait()

    with watching(Client(found("a", 1), meanwhile=wait), timeout=0.01) as watch:
        try:
            error = failure(watch, "a")
        finally:
            go_on.set()
        assert (error.outcome, str(error)) == ("failed", "no answer within 0.01 s")


@pytest.mark.parametrize("name", ["", "..", "a/pods", "a?watch=true", "kube-system/secrets/x", "A", "a" * 64, "a\n"])
def test_a_name_that_is_invalid_for_a_namespace_never_becomes_part_of_a_path(name: str) -> None:
    client = Client()
    with watching(client) as watch:
        error = failure(watch, name)
        assert (error.outcome, str(error)) == ("not_found", "the name of the review's namespace is invalid")
        assert client.paths == []


def test_a_name_that_was_not_found_is_read_again_once_the_watch_reports_it() -> None:
    client = Client(KubeNotFoundError("not found", status=404), found("a", 3))
    with watching(client) as watch:
        assert [outcome(watch, "a"), outcome(watch, "a")] == ["not_found"] * 2
        assert len(client.paths) == 1
        watch.changed("ADDED", found("a", 2))
        assert experiment(asyncio.run(watch.read("a"))) == "3"


def test_a_name_that_was_not_found_is_read_again_once_a_list_has_it() -> None:
    client = Client(KubeNotFoundError("not found", status=404), found("a", 3))
    with watching(client) as watch:
        assert outcome(watch, "a") == "not_found"
        watch.replaced([found("a", 2)])
        assert experiment(asyncio.run(watch.read("a"))) == "3"


def test_a_name_that_was_not_found_is_read_again_a_moment_later() -> None:
    now = [0.0]
    client = Client(KubeNotFoundError("not found", status=404), found("a", 3))
    with watching(client, clock=lambda: now[0]) as watch:
        assert outcome(watch, "a") == "not_found"
        now[0] += MISSING_FOR
        assert experiment(asyncio.run(watch.read("a"))) == "3"


def test_forged_names_do_not_use_up_the_reads_of_known_namespaces() -> None:
    missing = [KubeNotFoundError("not found", status=404)] * BURST
    with watching(Client(*missing, found("a", 2)), clock=lambda: 0.0) as watch:
        watch.replaced([found("a", 1)])
        outcomes = [outcome(watch, f"made-up-{number}") for number in range(BURST + 1)]
        assert outcomes == [*["not_found"] * BURST, "limited"]
        assert experiment(asyncio.run(watch.read("a"))) == "2"


class Collection:
    """An API server with one namespace. Its first watch fails, the second one is silent until it is closed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.followed, self.closed = threading.Event(), threading.Event()

    def list(self, path: str, *, params: object, metadata_only: bool) -> dict[str, Any]:
        self.calls.append(("list", path, metadata_only))
        return {"items": [found("a", 1)], "metadata": {"resourceVersion": "1"}}

    def watch(self, path: str, *, metadata_only: bool, **_: object) -> Collection:
        self.calls.append(("watch", path, metadata_only))
        if len(self.calls) == 2:
            raise KubeUnavailableError("away")
        return self

    def __iter__(self) -> Iterator[Any]:
        self.followed.set()
        self.closed.wait()
        return iter(())

    def close(self) -> None:
        self.closed.set()


def test_all_namespaces_are_listed_and_watched_and_silence_makes_them_out_of_date() -> None:
    server, now, restarts = Collection(), [0.0], list[float]()
    watch = NamespaceWatch(
        cast("KubeClient", server),
        lookup_timeout=timedelta(minutes=10),
        on_restart=lambda: restarts.append(now[0]),
        clock=lambda: now[0],
    )
    watch.start()
    try:
        wait_until(server.followed.is_set, "the second watch", every=0.01)
        assert [call for call, *_ in server.calls] == ["list", "watch", "watch"]
        assert {tuple(rest) for _, *rest in server.calls} == {("/api/v1/namespaces", True)}
        assert (experiment(watch.known("a")), watch.problem(), len(restarts)) == ("1", None, 1)
        assert watch.fresh()
        now[0] += 90
        assert watch.silence == 90
        assert not watch.fresh()
    finally:
        watch.stop()
    assert server.closed.is_set()


def test_few_reads_run_at_once_and_stopping_does_not_wait_for_them() -> None:
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait()

    client = Client(*[found("a", 1)] * 20, meanwhile=wait)
    client.list = client.watch = Collection().list  # type: ignore[attr-defined]
    watch = NamespaceWatch(cast("KubeClient", client), lookup_timeout=timedelta(minutes=10))
    watch.start()

    async def read() -> list[object]:
        tasks = [asyncio.create_task(watch.read(f"n{number}")) for number in range(20)]
        try:
            await asyncio.to_thread(wait_until, lambda: len(client.paths) >= 8, "eight reads")
            await asyncio.sleep(0.02)  # in which a ninth could start
            ending = threading.Thread(target=watch.stop)
            ending.start()
            await asyncio.to_thread(ending.join, DEADLINE)
            assert not ending.is_alive()
            assert len(client.paths) == 8
        finally:
            go_on.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    results = asyncio.run(read())
    assert sum(isinstance(result, Namespace) for result in results) == 8
    assert len(client.paths) == 8


def test_it_is_not_ready_and_not_fresh_before_the_first_list() -> None:
    with watching() as watch:
        assert watch.problem() == "the namespaces have not been listed yet"
        assert watch.silence == float("inf")
        assert not watch.fresh()


def test_given_namespaces_are_known_and_others_have_no_labels() -> None:
    given = StaticNamespaces([Namespace("a", {"mlflow-enabled": "true"}, {})])
    assert given.fresh()
    assert asyncio.run(given.read("a")).enabled
    other = given.known("b")
    assert (other.name, other.labels, other.annotations) == ("b", {}, {})
