"""Keepers of several replicas around one store. The clock is an argument, so nothing waits."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.authority import PROPAGATION, Authority
from certs.keeper import FIRST_WAIT
from certs.lease import DURATION
from tests.support.examples import security_examples
from tests.support.keeper import SECOND, SPEC, START, Cluster, Replica, verified


def test_five_replicas_that_start_together_end_with_one_ca_and_all_are_ready() -> None:
    cluster = Cluster()
    replicas = [Replica(cluster, name) for name in "abcde"]
    for replica in (*replicas, *replicas):
        replica.keeper.step(START)
    assert cluster.journal == ["publish", "store"]
    assert all(replica.keeper.problem() is None and replica.trusted(START) for replica in replicas)


def test_a_replica_is_not_ready_before_clients_trust_its_ca() -> None:
    cluster = Cluster()
    leader, other = Replica(cluster, "a"), Replica(cluster, "b")
    leader.keeper.step(START)
    cluster.bundles = [b"", b""]
    other.keeper.step(START)
    assert "caBundle" in (other.keeper.problem() or "")
    leader.keeper.step(START)
    other.keeper.step(START)
    assert other.keeper.problem() is None


def test_a_caBundle_that_something_else_overwrote_is_repaired() -> None:  # noqa: N802 - the field's name
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    assert cluster.bundles
    cluster.bundles = [cluster.bundles[0], b"rubbish"]
    replica.keeper.step(START)
    assert replica.trusted(START)
    assert replica.publications == 2


def test_nobody_is_asked_and_nothing_is_written_when_nothing_is_due() -> None:
    cluster = Cluster()
    replicas = [Replica(cluster, "a"), Replica(cluster, "b")]
    for replica in replicas:
        replica.keeper.step(START)
    reads = cluster.reads
    for second in range(150):
        for replica in replicas:
            replica.keeper.step(START + second * SECOND)
    assert cluster.reads == reads
    assert cluster.journal == ["publish", "store"]


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


def test_a_crash_after_taking_the_lease_delays_the_others_by_no_more_than_its_duration() -> None:
    cluster = Cluster()
    crashed, other = Replica(cluster, "a"), Replica(cluster, "b")
    crashed.held(START)
    for second in range(15):
        other.keeper.step(START + second * SECOND)
        assert cluster.data is None
    other.keeper.step(START + DURATION)
    assert other.trusted(START + DURATION)


def test_a_leader_that_crashes_after_storing_keeps_others_from_writing_for_its_lease_only() -> None:
    cluster = Cluster()
    crashed, other = Replica(cluster, "a"), Replica(cluster, "b")
    crashed.keeper.step(START)
    other.keeper.step(START)
    cluster.bundles = [b"", b""]
    for second in range(15):
        other.keeper.step(START + second * SECOND)
        assert other.publications == 0
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


def test_without_a_certificate_it_tries_less_often_after_each_failure_and_soon_again_after_a_success() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    cluster.away = True
    waits = []
    for _ in range(8):
        replica.keeper.step(START)
        waits.append(replica.keeper.wait)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (SECOND, 5 * SECOND)
    cluster.away = False
    replica.keeper.step(START)
    assert replica.leaf is not None


def test_a_leaf_that_could_not_be_put_into_service_is_not_ready_and_is_tried_again() -> None:
    replica = Replica(Cluster(), "a")
    replica.broken = True
    replica.keeper.step(START)
    replica.keeper.step(START)
    assert replica.problems == ["no temporary folder"] * 2
    assert replica.keeper.problem() == "there is no certificate yet"
    assert replica.keeper.wait == 2 * SECOND
    replica.broken = False
    replica.keeper.step(START)
    assert replica.trusted(START)
    assert replica.keeper.problem() is None


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
def test_no_client_ever_meets_a_certificate_it_cannot_verify(seed: int) -> None:
    """Three replicas over two lifetimes of a CA, in any order, with late watches, restarts and faults in between."""
    chance = random.Random(seed)
    cluster = Cluster()
    replicas = [Replica(cluster, name) for name in "abc"]
    for replica in (*replicas, *replicas):
        replica.keeper.step(START)
    now = START
    while now < START + 2 * SPEC.ca_lifetime:
        late = cluster.bundles or ()  # what an API server knows that is a few seconds behind
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
        for replica in replicas:  # woken by what changed
            replica.keeper.step(now)
        assert all(replica.trusted(now) for replica in replicas)


def test_a_missing_configuration_is_reported_once_and_does_not_keep_a_replica_from_being_ready() -> None:
    cluster = Cluster()
    cluster.bundles = None
    replica = Replica(cluster, "a")
    for _ in range(3):
        replica.keeper.step(START)
    assert replica.problems == [
        "the webhook configuration was not found, so nothing calls this webhook; it is used once it exists"
    ]
    assert replica.keeper.problem() is None


def test_a_replica_says_what_its_clients_lack() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    assert replica.keeper.problem() == "there is no certificate yet"
    replica.keeper.step(START)
    cluster.failing = {"publish"}
    cluster.bundles = [b"", b""]
    other = Replica(cluster, "b")
    other.keeper.step(START)
    assert other.keeper.problem() == "the CA is not yet in the caBundle of the webhook configuration"


def test_a_replica_that_was_trusted_once_stays_ready_when_something_overwrites_the_bundle() -> None:
    """A restart would not help, and the bundle is repaired as soon as that is possible."""
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    cluster.bundles, cluster.failing = [b"", b""], {"publish"}
    replica.keeper.step(START)
    assert not replica.trusted(START)
    assert replica.keeper.problem() is None


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


def test_a_ca_that_is_lost_in_the_moment_in_which_it_ends_is_not_kept() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    cluster.data = None
    replica.keeper.step(START + SPEC.ca_lifetime)
    assert replica.trusted(START + SPEC.ca_lifetime)


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


@pytest.mark.parametrize("bundles", [[b""], []], ids=["one webhook", "none"])
def test_a_configuration_may_have_any_number_of_webhooks(bundles: list[bytes]) -> None:
    cluster = Cluster()
    cluster.bundles = bundles
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    assert replica.leaf is not None
    assert replica.problems == []


def test_the_wait_is_short_again_after_a_step_without_a_failure() -> None:
    cluster = Cluster()
    cluster.away = True
    replica = Replica(cluster, "b")
    for _ in range(3):
        replica.keeper.step(START)
    assert replica.keeper.wait == 8 * FIRST_WAIT
    cluster.away = False
    Replica(cluster, "a").held(START)  # another one leads, so there is still no certificate
    replica.keeper.step(START)
    assert replica.leaf is None
    assert replica.keeper.wait == FIRST_WAIT


def test_a_leaf_comes_with_the_ca_that_signed_it_and_has_every_name_and_address() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a", replace(SPEC, dns_names=["w.ns.svc", "w.ns"], ip_addresses=["127.0.0.1"]))
    replica.keeper.step(START)
    assert replica.leaf
    assert replica.signer == cluster.authority.current
    certificate = x509.load_pem_x509_certificate(replica.leaf.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["w.ns.svc", "w.ns"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


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


def test_nothing_is_signed_by_a_ca_in_the_moment_in_which_it_ends() -> None:
    cluster = Cluster()
    Replica(cluster, "a").keeper.step(START)
    end = START + SPEC.ca_lifetime
    Replica(cluster, "c").held(end - SECOND)  # another one leads, so this one cannot replace the CA
    late = Replica(cluster, "b")
    late.keeper.step(end)
    assert late.leaf is None
    assert late.problems == ["the CA has expired, and its successor is not known yet"]
