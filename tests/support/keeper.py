"""Replicas of a keeper, and their shared fakes: a cluster that records each write and fails on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from cryptography import x509

from certs.authority import Authority, split_bundle
from certs.issue import KeyPair
from certs.keeper import CertificateSpec, Keeper
from certs.lease import Lease, Observation, claim, observe
from certs.ports import InstallError, StoreConflictError, StoreError
from certs.renewal import validity

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SPEC = CertificateSpec(
    common_name="a CA",
    dns_names=["w.ns.svc"],
    ca_lifetime=timedelta(seconds=300),
    leaf_lifetime=timedelta(seconds=60),
)


class View(NamedTuple):
    """What is stored, and the caBundle that clients see."""

    data: Mapping[str, bytes] | None = None
    version: int = 0
    bundles: Sequence[bytes] | None = (b"", b"")


class Crash(BaseException):
    """A replica ends in the middle of a step."""


class Cluster:
    """What replicas share. Notes each write in `journal`, and fails at those in `failing`."""

    def __init__(self) -> None:
        self.now, self.before = View(), View()
        """The current state, and the state that a slightly late watch still reports."""
        self.lease: Lease | None = None
        self.away = False
        self.journal: list[str] = []
        self.failing: set[str] = set()
        self.reads = 0
        """The number of live reads, also of the lease."""
        self.writes = 0
        """All that began, also those of the lease."""
        self.crash: tuple[int, str] | None = None
        """The number of the write "before" or "after" which its replica crashes."""

    def check(self) -> None:
        if self.away:
            raise StoreError("away")

    def write(self, what: str, **changes: Any) -> None:
        self.check()
        if what in self.failing:
            raise StoreError(f"cannot {what}")
        with self._crashing():
            self.journal.append(what)
            self.now = self.now._replace(**changes)

    def take_lease(self, lease: Lease) -> None:
        with self._crashing():
            self.lease = lease

    @contextmanager
    def _crashing(self) -> Iterator[None]:
        self.writes += 1
        if self.crash == (self.writes, "before"):
            raise Crash
        yield
        if self.crash == (self.writes, "after"):
            raise Crash

    @property
    def data(self) -> Mapping[str, bytes] | None:
        return self.now.data

    @data.setter
    def data(self, data: Mapping[str, bytes] | None) -> None:
        self.now = self.now._replace(data=data, version=self.now.version + 1)

    @property
    def bundles(self) -> Sequence[bytes] | None:
        return self.now.bundles

    @bundles.setter
    def bundles(self, bundles: Sequence[bytes] | None) -> None:
        self.now = self.now._replace(bundles=bundles)

    @property
    def authority(self) -> Authority:
        return Authority.from_data(self.now.data or {})

    @property
    def trusted(self) -> list[list[bytes]]:
        return [split_bundle(bundle) for bundle in self.now.bundles or ()]


class Replica:
    def __init__(self, cluster: Cluster, name: str, spec: CertificateSpec = SPEC) -> None:
        self.cluster, self.name = cluster, name
        self.late = False
        """Whether its watches report the state before the last change."""
        self.leaf: KeyPair | None = None
        self.signer: KeyPair | None = None
        self.broken = False
        self.problems: list[str] = []
        self.publications = 0
        self._observation: Observation | None = None
        self.keeper = Keeper(spec, store=Store(self), trust=Trust(self), leadership=self, events=self)

    def view(self, *, live: bool) -> View:
        if live:
            self.cluster.check()
            self.cluster.reads += 1
        return self.cluster.before if self.late and not live else self.cluster.now

    def held(self, now: datetime) -> bool:
        self.cluster.check()
        self.cluster.reads += 1
        self._observation = observe(self.cluster.lease, before=self._observation, at=now.timestamp())
        wanted = claim(self._observation, identity=self.name, now=now)
        if wanted is not None:
            self.cluster.take_lease(wanted)
        return wanted is not None

    def issued(self, leaf: KeyPair, ca: KeyPair | None = None) -> None:
        if self.broken:
            raise InstallError("no temporary folder")
        self.leaf, self.signer = leaf, ca

    def published(self) -> None:
        self.publications += 1

    def failed(self, problem: str) -> None:
        self.problems.append(problem)

    def trusted(self, now: datetime) -> bool:
        """Return whether a client that has the caBundle verifies what this replica serves now."""
        return self.leaf is not None and verified(self.leaf, self.cluster.bundles or [b""], now)


def verified(served: KeyPair, bundles: Sequence[bytes], now: datetime) -> bool:
    def valid(pem: bytes) -> bool:
        return validity(pem).left(now) > timedelta(0)

    return valid(served.certificate_pem) and all(
        any(valid(pem) and _signed(served.certificate_pem, pem) for pem in split_bundle(bundle)) for bundle in bundles
    )


@cache
def _signed(leaf_pem: bytes, ca_pem: bytes) -> bool:
    leaf, ca = (x509.load_pem_x509_certificate(pem) for pem in (leaf_pem, ca_pem))
    try:
        leaf.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - of several kinds, all meaning no
        return False
    return True


class Store:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def read(self, *, live: bool) -> tuple[Mapping[str, bytes], str] | None:
        view = self._replica.view(live=live)
        return None if view.data is None else (view.data, str(view.version))

    def write(self, data: Mapping[str, bytes], *, version: str | None) -> None:
        cluster = self._replica.cluster
        present = None if cluster.data is None else str(cluster.now.version)
        if version != present:
            raise StoreConflictError
        cluster.write("store", data=data, version=cluster.now.version + 1)


class Trust:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def read(self, *, live: bool) -> Sequence[bytes] | None:
        return self._replica.view(live=live).bundles

    def publish(self, bundle: bytes) -> None:
        self._replica.cluster.write("publish", bundles=[bundle, bundle])
