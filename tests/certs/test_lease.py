from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certs.lease import Lease, claim, observe, release

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def lease(holder: str) -> Lease:
    return Lease(holder=holder, renewed=NOW, acquired=NOW)


def test_a_lease_that_nobody_has_is_taken() -> None:
    for present in (None, lease("")):
        now = NOW + SECOND
        taken = claim(observe(present, before=None, at=0), identity="a", now=now)
        assert taken == Lease(holder="a", renewed=now, acquired=now, transitions=0 if present is None else 1)


def test_a_lease_is_renewed_by_its_holder() -> None:
    held = Lease(holder="a", renewed=NOW, acquired=NOW, transitions=3)
    renewed = claim(observe(held, before=None, at=0), identity="a", now=NOW + SECOND)
    assert renewed == Lease(holder="a", renewed=NOW + SECOND, acquired=NOW, transitions=3)


def test_another_replicas_lease_is_left_to_it_while_it_renews() -> None:
    first = observe(lease("a"), before=None, at=0)
    again = observe(lease("a"), before=first, at=14.9)
    assert claim(again, identity="b", now=NOW) is None
    renewed = Lease(holder="a", renewed=NOW + SECOND, acquired=NOW)
    seen = observe(renewed, before=again, at=15)
    assert claim(observe(renewed, before=seen, at=29.9), identity="b", now=NOW) is None


def test_a_lease_that_stays_unchanged_for_its_duration_is_taken_over() -> None:
    first = observe(lease("a"), before=None, at=0)
    again = observe(lease("a"), before=first, at=15)
    taken = claim(again, identity="b", now=NOW)
    assert taken == Lease(holder="b", renewed=NOW, acquired=NOW, transitions=1)


def test_neither_the_holders_clock_nor_a_change_of_the_own_clock_matters() -> None:
    ahead = Lease(holder="a", renewed=NOW + timedelta(days=1), acquired=NOW)
    first = observe(ahead, before=None, at=0)
    assert claim(first, identity="b", now=NOW + timedelta(days=1)) is None
    assert claim(observe(ahead, before=first, at=15), identity="b", now=NOW - timedelta(days=1)) is not None


def test_a_released_lease_is_free_at_once() -> None:
    held = Lease(holder="a", renewed=NOW, acquired=NOW, transitions=3)
    freed = release(held, now=NOW + SECOND)
    assert freed == Lease(holder="", renewed=NOW + SECOND, acquired=NOW, transitions=3)
    assert claim(observe(freed, before=None, at=0), identity="b", now=NOW) is not None
