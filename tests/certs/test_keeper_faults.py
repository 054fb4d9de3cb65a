"""Replicas that crash, have old data or a wrong clock, and a stored CA that is lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import count

import pytest

from certs.authority import Authority
from certs.lease import DURATION
from tests.support.keeper import SECOND, SPEC, START, Cluster, Crash, Replica


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_write_leaves_no_replica_untrusted(moment: str) -> None:
    """A first CA, its successor because of distrust, and the renewal of that: each write is once its replica's last."""
    for number in count(1):
        cluster = Cluster()
        cluster.crash = (number, moment)
        replicas = [Replica(cluster, name) for name in "ab"]
        for seconds in range(0, 360, 15):
            now = START + seconds * SECOND
            if seconds == 90 and cluster.data:
                cluster.data = {**cluster.data, "distrust": b""}
            for place, replica in enumerate(replicas):
                try:
                    replica.keeper.step(now)
                except Crash:
                    replicas[place] = Replica(cluster, "its successor")  # which comes a moment later
            assert all(replica.leaf is None or replica.trusted(now) for replica in replicas)
        assert all(replica.leaf for replica in replicas)
        if cluster.writes < number:
            break
    assert number > 15


def test_a_crash_between_publishing_and_storing_leaves_no_replica_untrusted() -> None:
    cluster = Cluster()
    first, second = Replica(cluster, "a"), Replica(cluster, "b")
    for now in (START, START + SPEC.ca_lifetime * 2 / 3, START + SPEC.ca_lifetime * 4 / 5):
        cluster.failing = {"store"}
        first.keeper.step(now)
        cluster.failing = set()
        second.keeper.step(now)
        second.keeper.step(now + 15 * SECOND)  # the first one's lease has run out
        first.keeper.step(now + 15 * SECOND)
        assert second.trusted(now + 15 * SECOND)
        assert first.trusted(now + 15 * SECOND)


@pytest.mark.parametrize("stored", [False, True], ids=["before it writes", "after it has stored"])
def test_a_leader_that_crashes_keeps_others_from_writing_for_no_longer_than_its_lease(stored: bool) -> None:
    cluster = Cluster()
    crashed, other = Replica(cluster, "a"), Replica(cluster, "b")
    if stored:
        crashed.keeper.step(START)
        cluster.bundles = [b"", b""]
    else:
        crashed.held(START)
    before = cluster.now
    for second in range(15):
        other.keeper.step(START + second * SECOND)
        assert cluster.now == before
    other.keeper.step(START + DURATION)
    assert other.trusted(START + DURATION)


def test_a_replica_whose_watch_is_late_looks_again_before_it_writes() -> None:
    cluster = Cluster()
    first, late = Replica(cluster, "a"), Replica(cluster, "b")
    first.keeper.step(START)
    late.late = True
    late.keeper.step(START)
    late.keeper.step(START + DURATION)
    assert cluster.journal == ["publish", "store"]
    late.late = False
    late.keeper.step(START + DURATION)
    assert late.trusted(START + DURATION)


def test_a_leader_whose_clock_is_behind_does_not_replace_a_new_ca() -> None:
    cluster = Cluster()
    Replica(cluster, "a").keeper.step(START)
    behind = Replica(cluster, "a")
    behind.keeper.step(START - 2 * SECOND)
    behind.keeper.step(START - timedelta(minutes=50))
    assert cluster.journal == ["publish", "store"]
    behind.keeper.step(START - timedelta(hours=2))  # its certificate would not be valid by that clock
    assert cluster.journal != ["publish", "store"]


def test_a_lost_ca_is_replaced_while_serving_goes_on() -> None:
    for lost in (None, {"ca.crt": b"rubbish"}):
        cluster = Cluster()
        replica = Replica(cluster, "a")
        replica.keeper.step(START)
        before = replica.leaf
        cluster.data = lost
        replica.keeper.step(START + SECOND)
        assert replica.leaf == before
        assert replica.trusted(START + SECOND)
        for second in range(2, 60):
            replica.keeper.step(START + second * SECOND)
            assert replica.trusted(START + second * SECOND)
        assert replica.leaf != before
        assert cluster.data
        assert Authority.from_data(cluster.data).next is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "the stored CA was deleted, and is replaced"),
        ({"ca.crt": b""}, "the stored CA cannot be read, and is replaced: ca.crt is missing"),
    ],
    ids=["deleted", "invalid"],
)
def test_a_stored_ca_that_is_lost_is_named_and_replaced(data: Mapping[str, bytes] | None, problem: str) -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    assert replica.problems == []
    cluster.data = data
    replica.keeper.step(START)
    assert replica.problems == [problem]
    assert cluster.authority.next is not None
    assert all(cluster.authority.next.certificate_pem in trusted for trusted in cluster.trusted)


def test_a_stored_ca_that_cannot_be_read_is_replaced_by_a_replica_that_never_had_one() -> None:
    cluster = Cluster()
    cluster.data = {"ca.crt": b"rubbish"}
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    assert replica.trusted(START)


def test_a_ca_that_is_lost_when_it_expires_is_not_kept() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    cluster.data = None
    replica.keeper.step(START + SPEC.ca_lifetime)
    assert replica.trusted(START + SPEC.ca_lifetime)
