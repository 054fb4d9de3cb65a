"""How a CA is replaced by its successor while clients trust what is served. The clock is an argument."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.authority import PROPAGATION
from tests.support.examples import security_examples
from tests.support.keeper import SECOND, SPEC, START, Cluster, Replica, verified


def test_a_new_ca_is_published_before_it_is_stored_and_stored_before_it_signs() -> None:
    """From the moment a CA is stored as the current one, every replica signs with it."""
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    old = cluster.authority.current
    due = START + SPEC.ca_lifetime * 2 / 3
    cluster.journal.clear()
    replica.keeper.step(due)
    assert cluster.journal == ["publish", "store"]
    assert cluster.authority.current == old
    assert all(len(trusted) == 2 for trusted in cluster.trusted)
    promotion = due + SPEC.ca_lifetime / 10
    replica.keeper.step(promotion - SECOND)
    assert cluster.authority.current == old
    replica.keeper.step(promotion)
    assert cluster.authority.current != old
    assert replica.trusted(promotion)


@pytest.mark.parametrize("first", [True, False], ids=["the first CA", "its successor"])
def test_a_ca_that_could_not_be_published_is_not_stored(first: bool) -> None:
    cluster = Cluster()
    replica, other = Replica(cluster, "a"), Replica(cluster, "b")
    now = START
    if not first:
        replica.keeper.step(START)
        now = START + SPEC.ca_lifetime * 2 / 3
    before = cluster.now
    cluster.failing = {"publish"}
    for replica_ in (replica, other):
        replica_.keeper.step(now)
    assert cluster.now == before
    assert "cannot publish" in replica.problems
    cluster.failing = set()
    replica.keeper.step(now)
    assert replica.trusted(now)
    assert cluster.now != before


def test_a_lower_lifetime_replaces_the_present_ca_and_ends_its_trust_in_time() -> None:
    cluster = Cluster()
    Replica(cluster, "a", replace(SPEC, ca_lifetime=timedelta(days=3650))).keeper.step(START)
    long_lived = cluster.authority.current
    now = START + timedelta(days=100)
    short = Replica(cluster, "a", replace(SPEC, ca_lifetime=timedelta(days=30)))
    for minute in (0, 1, 2):
        short.keeper.step(now + timedelta(minutes=minute))
        assert short.trusted(now + timedelta(minutes=minute))
    assert cluster.authority.current != long_lived
    for day in range(30):
        short.keeper.step(now + timedelta(days=day, minutes=3))
    assert long_lived.certificate_pem in cluster.trusted[0]
    short.keeper.step(now + timedelta(days=30))
    assert long_lived.certificate_pem not in cluster.trusted[0]


def test_distrusted_cas_are_replaced_at_once_and_trusted_no_longer_than_replicas_need_to_follow() -> None:
    """A minute to publish the new one, and a minute to serve under it; no call fails in between."""
    cluster = Cluster()
    spec = replace(SPEC, ca_lifetime=timedelta(days=365), leaf_lifetime=timedelta(days=14))
    replicas = [Replica(cluster, name, spec) for name in "ab"]
    for replica in replicas:
        replica.keeper.step(START)
    due = START + spec.ca_lifetime * 2 / 3
    for replica in replicas:
        replica.keeper.step(due)  # there is a successor as well, whose key is in the same Secret
    old = cluster.authority
    assert old.next
    assert cluster.data
    cluster.data = {**cluster.data, "distrust": b""}
    for second in range(125):
        for replica in replicas:
            replica.keeper.step(due + second * SECOND)
            assert replica.trusted(due + second * SECOND)
    assert len(cluster.trusted[0]) == 1
    assert not {old.current.certificate_pem, old.next.certificate_pem} & set(cluster.trusted[0])
    assert set(cluster.data or {}) == {"ca.crt", "ca.key", "since"}


def test_a_leader_that_comes_late_gives_replicas_time_to_follow_before_it_ends_trust() -> None:
    cluster = Cluster()
    spec = replace(SPEC, ca_lifetime=timedelta(days=365), leaf_lifetime=timedelta(days=14))
    leader, other = Replica(cluster, "a", spec), Replica(cluster, "b", spec)
    for replica in (leader, other):
        replica.keeper.step(START)
    assert cluster.data
    cluster.data = {**cluster.data, "distrust": b""}
    leader.keeper.step(START)
    late = START + timedelta(days=3)
    leader.keeper.step(late)
    assert other.trusted(late)
    other.keeper.step(late)
    leader.keeper.step(late + PROPAGATION)
    assert other.trusted(late + PROPAGATION)
    assert len(cluster.trusted[0]) == 1


def test_replicas_that_come_back_after_their_ca_has_ended_make_a_new_one() -> None:
    cluster = Cluster()
    Replica(cluster, "a").keeper.step(START)
    now = START + 2 * SPEC.ca_lifetime
    late, leader = Replica(cluster, "b"), Replica(cluster, "a")
    with patch.object(late, "held", return_value=False):
        late.keeper.step(now)
    assert late.problems == ["the CA has expired, and its successor is not known yet"]
    leader.keeper.step(now)
    late.keeper.step(now)
    assert leader.trusted(now)
    assert late.trusted(now)
    assert leader.problems == []


def test_leaves_are_renewed_while_the_api_server_is_away() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    cluster.away = True
    for second in range(0, 240, 5):
        replica.keeper.step(START + second * SECOND)
        assert replica.trusted(START + second * SECOND)
    assert set(replica.problems) == {"away"}  # the CA should have a successor by now


@settings(max_examples=max(2, security_examples() // 30))
@given(st.integers(0, 2**32))
def test_no_client_ever_gets_a_certificate_that_it_cannot_verify(seed: int) -> None:
    """Three replicas over two lifetimes of a CA, in any order, with late watches, restarts and faults in between."""
    chance = random.Random(seed)
    cluster = Cluster()
    replicas = [Replica(cluster, name) for name in "abc"]
    for replica in (*replicas, *replicas):
        replica.keeper.step(START)
    now = START
    while now < START + 2 * SPEC.ca_lifetime:
        late = cluster.bundles or ()  # the state of an API server that is a few seconds behind
        now += chance.randint(1, 5) * SECOND
        fault = chance.choice([None] * 12 + ["restart", "lost", "away", "overwritten", "distrusted"])
        cluster.away = fault == "away"
        cluster.before = cluster.now
        for replica in replicas:
            replica.late = chance.random() < 0.2
        if fault == "restart":
            number = chance.randrange(3)
            replicas[number] = Replica(cluster, replicas[number].name)
        elif fault == "lost":
            cluster.data = None
        elif fault == "distrusted" and cluster.data:
            cluster.data = {**cluster.data, "distrust": b""}
        elif fault == "overwritten":
            cluster.bundles = [b"", b""]
        for replica in chance.sample([*replicas, *replicas], 6):
            replica.keeper.step(now)
            if fault in {None, "away", "distrusted"}:
                assert replica.leaf
                assert verified(replica.leaf, [*late, *(cluster.bundles or ())], now)
        cluster.away = False
        for replica in replicas:
            replica.late = False
        for replica in replicas:  # woken by the change
            replica.keeper.step(now)
        assert all(replica.trusted(now) for replica in replicas)


def test_a_successor_does_not_sign_while_one_of_two_configurations_lacks_it() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    due = START + SPEC.ca_lifetime * 2 / 3
    replica.keeper.step(due)
    old = cluster.authority.current
    assert cluster.bundles
    cluster.bundles = [cluster.bundles[0], old.certificate_pem]
    promotion = due + SPEC.ca_lifetime / 10
    replica.keeper.step(promotion)
    assert cluster.authority.current == old
    replica.keeper.step(promotion)
    assert cluster.authority.current != old


def test_a_shorter_propagation_lets_a_successor_sign_sooner() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a", replace(SPEC, propagation=5 * SECOND))
    replica.keeper.step(START)
    old, due = cluster.authority.current, START + SPEC.ca_lifetime * 2 / 3
    replica.keeper.step(due)
    replica.keeper.step(due + 4 * SECOND)
    assert cluster.authority.current == old
    replica.keeper.step(due + 5 * SECOND)
    assert cluster.authority.current != old


def test_a_ca_signs_nothing_when_it_expires() -> None:
    cluster = Cluster()
    Replica(cluster, "a").keeper.step(START)
    end = START + SPEC.ca_lifetime
    Replica(cluster, "c").held(end - SECOND)  # another one leads, so this one cannot replace the CA
    late = Replica(cluster, "b")
    late.keeper.step(end)
    assert late.leaf is None
    assert late.problems == ["the CA has expired, and its successor is not known yet"]
