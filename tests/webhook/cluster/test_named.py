"""One object, known from a watch of its name, or read live where the watch cannot be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.kube import FakeKube
from tests.support.waiting import wait_until
from webhook.cluster.informer import STALE_AFTER
from webhook.cluster.kube import KubeError
from webhook.cluster.named import POLL_EVERY, NamedObject

COLLECTION = "/api/v1/namespaces/mlflow-webhook/secrets"
PATH = f"{COLLECTION}/ca"


def secret(content: str) -> dict[str, Any]:
    return {"metadata": {"name": "ca"}, "data": {"ca.crt": content}}


class Watched:
    """The object, a fake API server that has it, and a clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.server, self.now, self.changes = FakeKube(), 1000.0, 0
        self.server.put(f"{COLLECTION}/another", {"metadata": {"name": "another"}})
        self.server.put(PATH, secret("first"))
        self.object = NamedObject(self.server.client, COLLECTION, "ca", clock=lambda: self.now)
        self.object.on_change = self._count

    def start(self) -> None:
        self.object.start()
        wait_until(lambda: self.server.followed > 0, "the watch", every=0.005)
        self.server.requests.clear()

    def content(self) -> str | None:
        found = self.object.known()
        return found["data"]["ca.crt"] if found else None

    def after(self, change: Callable[[], object]) -> str | None:
        """Return the content that is known once the watch has reported a change."""
        before = self.changes
        change()
        wait_until(lambda: self.changes > before, "the watch to report it", every=0.005)
        return self.content()

    def _count(self) -> None:
        self.changes += 1


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    if watched.object._informer._thread.is_alive():
        watched.object.stop()
        wait_until(lambda: not watched.object._informer._thread.is_alive(), "its thread to end", every=0.005)


def test_changes_are_known_without_a_request_and_other_objects_do_not_matter(watched: Watched) -> None:
    watched.start()
    assert watched.content() == "first"
    assert watched.changes == 1  # the list
    assert watched.after(lambda: watched.server.put(PATH, secret("second"))) == "second"
    assert watched.after(lambda: watched.server.remove(PATH)) is None
    watched.server.put(f"{COLLECTION}/another", secret("of another"))
    assert watched.after(lambda: watched.server.put(PATH, secret("third"))) == "third"
    assert watched.server.requests == []


def test_only_the_one_name_is_listed_and_watched(watched: Watched) -> None:
    watched.start()
    assert watched.server.selectors == {"metadata.name=ca"}


def test_a_live_read_is_newer_than_the_watch_and_an_older_event_does_not_undo_it(watched: Watched) -> None:
    older = watched.server.objects[PATH]
    watched.server.put(PATH, secret("second"))
    assert watched.object.read()
    watched.object.changed("MODIFIED", older)
    assert watched.content() == "second"


def test_what_was_written_is_known_at_once(watched: Watched) -> None:
    watched.start()
    watched.object.remember({**secret("written"), "metadata": {"name": "ca", "resourceVersion": "999"}})
    assert watched.content() == "written"


def test_without_the_right_to_watch_it_is_read_now_and_then(watched: Watched) -> None:
    watched.server.forbidden = {"list", "watch"}
    assert watched.content() == "first"
    watched.server.put(PATH, secret("second"))
    watched.now += POLL_EVERY - 1
    assert watched.content() == "first"
    watched.now += 1
    assert watched.content() == "second"
    assert watched.server.requests == [f"GET {PATH}"] * 2


def test_a_watch_that_has_been_silent_too_long_is_not_relied_on(watched: Watched) -> None:
    watched.start()
    watched.now += STALE_AFTER - 1
    assert watched.content() == "first"
    assert watched.server.requests == []
    watched.now += 1
    assert watched.content() == "first"
    assert watched.server.requests == [f"GET {PATH}"]


def test_while_the_api_server_is_away_each_poll_fails_and_the_last_content_is_known_in_between(
    watched: Watched,
) -> None:
    watched.start()
    watched.server.away = True
    watched.now += STALE_AFTER
    with pytest.raises(KubeError):
        watched.object.known()
    assert watched.content() == "first"
    watched.now += POLL_EVERY
    with pytest.raises(KubeError):
        watched.object.known()


def test_before_the_first_success_every_call_is_a_read(watched: Watched) -> None:
    watched.server.away = True
    for _ in range(3):
        with pytest.raises(KubeError):
            watched.object.known()
    watched.server.away = False
    assert watched.content() == "first"


def test_a_live_read_that_finds_nothing_does_not_undo_what_the_watch_has_seen_since(watched: Watched) -> None:
    created = {**secret("created"), "metadata": {"name": "ca", "resourceVersion": "500"}}
    watched.server.remove(PATH)
    get = watched.server.get

    def late(path: str, **named: object) -> dict[str, Any]:
        try:
            return get(path, **named)
        finally:
            watched.object.changed("ADDED", created)

    watched.server.get = late  # type: ignore[method-assign]
    assert watched.object.read() == created


def test_a_deleted_object_is_not_known_after_a_read(watched: Watched) -> None:
    assert watched.object.read()
    watched.server.remove(PATH)
    assert watched.object.read() is None


def test_an_object_that_a_list_does_not_have_is_not_known(watched: Watched) -> None:
    assert watched.object.known()
    watched.object.replaced([])
    assert watched.object.known() is None


def test_the_callback_for_changes_is_optional(watched: Watched) -> None:
    quiet = NamedObject(watched.server.client, COLLECTION, "ca", clock=lambda: watched.now)
    assert quiet.known()
    quiet.changed("DELETED", watched.server.objects[PATH])
    assert quiet.known() is None
