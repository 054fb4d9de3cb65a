"""Which namespaces are known after events, lists and live reads in any order. The API server is a fake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import pytest

from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError, KubeUnavailableError
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

    def get(self, path: str, *, metadata_only: bool, timeout: float) -> dict[str, Any]:
        assert metadata_only
        self.paths.append(path)
        answer = self.answers.pop(0)
        self.meanwhile()
        if isinstance(answer, KubeError):
            raise answer
        return answer


@contextmanager
def watching(client: Client | None = None, *, timeout: float = 5) -> Iterator[NamespaceWatch]:
    watch = NamespaceWatch(cast("KubeClient", client or Client()), lookup_timeout=timedelta(seconds=timeout))
    try:
        yield watch
    finally:
        watch._readers.shutdown(wait=True)


def experiment(namespace: Namespace | None) -> str | None:
    return namespace.annotations[EXPERIMENT] if namespace else None


def outcome(watch: NamespaceWatch, name: str) -> str:
    with pytest.raises(LookupFailedError) as caught:
        asyncio.run(watch.read(name))
    return str(caught.value.outcome)


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


def test_only_what_decides_is_kept() -> None:
    with watching() as watch:
        watch.replaced([found("a", 1)])
        kept = watch.known("a")
        assert kept
        assert (kept.name, kept.labels, kept.annotations) == ("a", {"mlflow-enabled": "true"}, {EXPERIMENT: "1"})


def test_a_live_read_is_returned_and_known_afterwards() -> None:
    client = Client(found("a", 7))
    with watching(client) as watch:
        assert experiment(asyncio.run(watch.read("a"))) == "7"
        assert experiment(watch.known("a")) == "7"
        assert client.paths == ["/api/v1/namespaces/a"]


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
        thread.join(5)
        assert done.is_set()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KubeNotFoundError("not found", status=404), "not_found"),
        (KubeForbiddenError("forbidden", status=403), "failed"),
        (KubeUnavailableError("away"), "failed"),
    ],
)
def test_a_read_that_fails_says_how(error: KubeError, expected: str) -> None:
    with watching(Client(error)) as watch:
        assert outcome(watch, "a") == expected
        assert watch.known("a") is None


def test_a_read_that_takes_too_long_has_failed() -> None:
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait(5)

    with watching(Client(found("a", 1), meanwhile=wait), timeout=0.01) as watch:
        assert outcome(watch, "a") == "failed"
        go_on.set()


@pytest.mark.parametrize("name", ["", "..", "a/pods", "a?watch=true", "kube-system/secrets/x", "A", "a" * 64, "a\n"])
def test_a_name_that_is_invalid_for_a_namespace_never_becomes_part_of_a_path(name: str) -> None:
    client = Client()
    with watching(client) as watch:
        assert outcome(watch, name) == "not_found"
        assert client.paths == []


def test_a_name_that_was_not_found_is_read_again_once_the_watch_reports_it() -> None:
    client = Client(KubeNotFoundError("not found", status=404), found("a", 3))
    with watching(client) as watch:
        assert [outcome(watch, "a"), outcome(watch, "a")] == ["not_found"] * 2
        assert len(client.paths) == 1
        watch.changed("ADDED", found("a", 2))
        assert experiment(asyncio.run(watch.read("a"))) == "3"


def test_it_is_not_ready_and_not_fresh_before_the_first_list() -> None:
    with watching() as watch:
        assert watch.problem() == "the namespaces have not been listed yet"
        assert not watch.fresh()


def test_given_namespaces_are_known_and_others_have_no_labels() -> None:
    given = StaticNamespaces([Namespace("a", {"mlflow-enabled": "true"}, {})])
    assert given.fresh()
    assert asyncio.run(given.read("a")).enabled
    other = given.known("b")
    assert (other.name, other.labels, other.annotations) == ("b", {}, {})
