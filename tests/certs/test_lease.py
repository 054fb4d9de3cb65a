from __future__ import annotations

from datetime import UTC, datetime, timedelta

from certs.lease import DURATION, Lease, claim, release, sight

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def lease(holder: str) -> Lease:
    return Lease(holder=holder, renewed=NOW, acquired=NOW)


def test_a_lease_that_nobody_has_is_taken() -> None:
    for present in (None, lease("")):
        taken = claim(sight(present, before=None, now=NOW), identity="a", now=NOW)
        assert taken is not None
        assert taken.holder == "a"


def test_a_lease_is_renewed_by_its_holder() -> None:
    renewed = claim(sight(lease("a"), before=None, now=NOW), identity="a", now=NOW + SECOND)
    assert renewed == Lease(holder="a", renewed=NOW + SECOND, acquired=NOW)


def test_another_replicas_lease_is_left_to_it_while_it_renews() -> None:
    first = sight(lease("a"), before=None, now=NOW)
    later = NOW + DURATION - SECOND
    assert claim(first, identity="b", now=later) is None
    renewed = Lease(holder="a", renewed=NOW + SECOND, acquired=NOW)
    again = sight(renewed, before=first, now=later)
    assert claim(again, identity="b", now=later + DURATION - SECOND) is None


def test_a_lease_that_stays_unchanged_for_its_duration_is_taken_over() -> None:
    first = sight(lease("a"), before=None, now=NOW)
    again = sight(lease("a"), before=first, now=NOW + DURATION)
    taken = claim(again, identity="b", now=NOW + DURATION)
    assert taken is not None
    assert (taken.holder, taken.transitions) == ("b", 1)


def test_the_holders_clock_does_not_matter() -> None:
    ahead = Lease(holder="a", renewed=NOW + timedelta(days=1), acquired=NOW)
    first = sight(ahead, before=None, now=NOW)
    assert claim(first, identity="b", now=NOW + DURATION) is not None


def test_a_released_lease_is_free_at_once() -> None:
    freed = release(lease("a"), now=NOW)
    assert claim(sight(freed, before=None, now=NOW), identity="b", now=NOW) is not None
