"""Keepers of several replicas around one store. The clock is an argument, so nothing waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from certs.keeper import FIRST_WAIT
from certs.lease import Lease
from tests.support.keeper import SECOND, SPEC, START, Cluster, Replica


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


def test_a_step_without_a_due_action_sends_no_request() -> None:
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


@pytest.mark.parametrize(("lifetime", "wait"), [(20, 2), (49, 4.9), (60, 5), (86400, 5)])
def test_with_a_certificate_it_looks_again_after_a_tenth_of_a_lifetime_or_five_seconds(
    lifetime: float, wait: float
) -> None:
    replica = Replica(Cluster(), "a", replace(SPEC, leaf_lifetime=lifetime * SECOND))
    replica.keeper.step(START)
    assert replica.keeper.wait == wait * SECOND


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


def test_a_missing_configuration_is_reported_once_and_does_not_keep_a_replica_from_being_ready() -> None:
    cluster = Cluster()
    cluster.bundles = None
    replica = Replica(cluster, "a")
    for _ in range(3):
        replica.keeper.step(START)
    assert replica.problems == [
        "the webhook configuration was not found, so the API server does not call this webhook; it is used as soon as "
        "it exists"
    ]
    assert replica.keeper.problem() is None


def test_a_replica_says_why_its_clients_cannot_verify_it() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    assert replica.keeper.problem() == "there is no certificate yet"
    replica.keeper.step(START)
    cluster.failing = {"publish"}
    cluster.bundles = [b"", b""]
    other = Replica(cluster, "b")
    other.keeper.step(START)
    assert other.keeper.problem() == "the CA is not yet in the caBundle of the webhook configuration"


@pytest.mark.parametrize("another_leads", [True, False], ids=["another replica leads", "it cannot publish"])
def test_a_replica_that_was_trusted_once_stays_ready_when_something_overwrites_the_bundle(another_leads: bool) -> None:
    """A restart would not help, and the bundle is repaired as soon as that is possible."""
    cluster = Cluster()
    replica = Replica(cluster, "a")
    replica.keeper.step(START)
    cluster.bundles = [b"", b""]
    if another_leads:
        cluster.lease = Lease(holder="b", renewed=START, acquired=START)
    else:
        cluster.failing = {"publish"}
    replica.keeper.step(START)
    assert not replica.trusted(START)
    assert replica.keeper.problem() is None


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
