"""Keepers of several replicas around one store, in a time of their own."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.authority import Authority, split_bundle
from certs.issue import KeyPair
from certs.keeper import CertificateSpec, Keeper
from certs.lease import Lease, Observation, claim, observe
from certs.ports import InstallError, StoreConflictError, StoreError

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SPEC = CertificateSpec(
    common_name="a CA",
    dns_names=["w.ns.svc"],
    ca_lifetime=timedelta(seconds=300),
    leaf_lifetime=timedelta(seconds=60),
)


class Cluster:
    """What replicas share: the stored authority, the lease, and the caBundle that clients see."""

    def __init__(self) -> None:
        self.data: Mapping[str, bytes] | None = None
        self.version = 0
        self.bundles: Sequence[bytes] | None = [b"", b""]
        self.lease: Lease | None = None
        self.away = False
        self.writes = 0

    def check(self) -> None:
        if self.away:
            raise StoreError("away")


class Replica:
    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.leaf: KeyPair | None = None
        self.broken = False
        self.problems: list[str] = []
        self.publications = 0
        self._observation: Observation | None = None
        self.keeper = Keeper(SPEC, store=Store(cluster), trust=Trust(cluster), leadership=self, events=self)

    def held(self, now: datetime) -> bool:
        self.cluster.check()
        self._observation = observe(self.cluster.lease, before=self._observation, at=now.timestamp())
        wanted = claim(self._observation, identity=self.name, now=now)
        self.cluster.lease = wanted or self.cluster.lease
        return wanted is not None

    def issued(self, leaf: KeyPair, ca: KeyPair | None = None) -> None:
        if self.broken:
            raise InstallError("no temporary folder")
        self.leaf = leaf

    def published(self) -> None:
        self.publications += 1

    def failed(self, problem: str) -> None:
        self.problems.append(problem)

    def trusted(self, now: datetime) -> bool:
        """Whether a client that has the caBundle verifies what this replica serves now."""
        return self.leaf is not None and verified(self.leaf, self.cluster.bundles or [b""], now)


def verified(served: KeyPair, bundles: Sequence[bytes], now: datetime) -> bool:
    leaf = x509.load_pem_x509_certificate(served.certificate_pem)
    return leaf.not_valid_after_utc > now and all(
        any(_signed(leaf, pem, now) for pem in split_bundle(bundle)) for bundle in bundles
    )


def _signed(leaf: x509.Certificate, ca_pem: bytes, now: datetime) -> bool:
    ca = x509.load_pem_x509_certificate(ca_pem)
    try:
        leaf.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - of several kinds, all meaning no
        return False
    return ca.not_valid_after_utc > now


class Store:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self) -> tuple[Mapping[str, bytes], str] | None:
        self._cluster.check()
        return None if self._cluster.data is None else (self._cluster.data, str(self._cluster.version))

    def write(self, data: Mapping[str, bytes], *, version: str | None) -> None:
        present = None if self._cluster.data is None else str(self._cluster.version)
        if version != present:
            raise StoreConflictError
        self._cluster.data, self._cluster.version = data, self._cluster.version + 1
        self._cluster.writes += 1


class Trust:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self) -> Sequence[bytes] | None:
        self._cluster.check()
        return self._cluster.bundles

    def publish(self, bundle: bytes) -> None:
        self._cluster.check()
        self._cluster.bundles = [bundle, bundle]


def test_five_replicas_that_start_together_end_with_one_ca_and_all_are_ready() -> None:
    cluster = Cluster()
    replicas = [Replica(cluster, name) for name in "abcde"]
    for replica in (*replicas, *replicas):
        replica.keeper.step(START)
    assert cluster.writes == 1
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


def test_nothing_is_written_when_nothing_is_due() -> None:
    cluster = Cluster()
    replica = Replica(cluster, "a")
    for second in range(30):
        replica.keeper.step(START + second * SECOND)
    assert (cluster.writes, replica.publications) == (1, 1)


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
    assert late.problems == ["the CA has ended, and its successor is not known yet"]
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
    for second in range(0, 120, 5):
        replica.keeper.step(START + second * SECOND)
        assert replica.trusted(START + second * SECOND)
    assert replica.problems


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_no_client_ever_meets_a_certificate_it_cannot_verify(seed: int) -> None:
    """Three replicas over two lifetimes of a CA, in any order, with rests, restarts and faults in between."""
    chance = random.Random(seed)
    cluster = Cluster()
    replicas = [Replica(cluster, name) for name in "abc"]
    for replica in (*replicas, *replicas):
        replica.keeper.step(START)
    now = START
    while now < START + 2 * SPEC.ca_lifetime:
        late = cluster.bundles or ()  # what an API server knows that is a few seconds behind
        now += chance.randint(1, 5) * SECOND
        fault = chance.choice([None] * 12 + ["restart", "lost", "away", "overwritten"])
        cluster.away = fault == "away"
        if fault == "restart":
            number = chance.randrange(3)
            replicas[number] = Replica(cluster, replicas[number].name)
        elif fault == "lost":
            cluster.data = None
        elif fault == "overwritten":
            cluster.bundles = [b"", b""]
        for replica in chance.sample([*replicas, *replicas], 6):
            replica.keeper.step(now)
            if fault in {None, "away"}:
                assert replica.leaf
                assert verified(replica.leaf, [*late, *(cluster.bundles or ())], now)
        cluster.away = False
        for replica in replicas if fault else []:  # woken by what changed
            replica.keeper.step(now)
        assert all(replica.trusted(now) for replica in replicas)
