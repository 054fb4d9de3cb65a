"""Keeps one replica's certificate valid and trusted, step by step: reads, decides, publishes, stores, issues.

Each replica runs a Keeper. All of them sign their own leaf with the stored CA; the one that leads also makes and
replaces the CA and tells clients which CAs to trust. Where things are stored is behind the ports of certs.ports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from certs.authority import PROPAGATION, Authority, UnreadableAuthorityError, advance, rotate, split_bundle
from certs.issue import CLOCK_SKEW, KeyPair, issue_leaf
from certs.ports import AuthorityStore, Events, InstallError, Leadership, StoreConflictError, StoreError, TrustBundle
from certs.renewal import validity

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=0.5), timedelta(seconds=5)
"""Between two steps, when nothing wakes the keeper before: while there is no certificate yet, and afterwards."""


@dataclass(frozen=True, kw_only=True)
class CertificateSpec:
    """What certificates are to be like."""

    common_name: str
    dns_names: Sequence[str]
    ip_addresses: Sequence[str] = ()
    ca_lifetime: timedelta
    leaf_lifetime: timedelta
    propagation: timedelta = PROPAGATION


class Keeper:
    """One replica's certificate. Call `step` from one thread, now and then and whenever something stored changes."""

    def __init__(
        self,
        spec: CertificateSpec,
        *,
        store: AuthorityStore,
        trust: TrustBundle,
        leadership: Leadership,
        events: Events,
    ) -> None:
        self._spec, self._events = spec, events
        self._store, self._trust, self._leadership = store, trust, leadership
        self._ca: KeyPair | None = None
        self._leaf: KeyPair | None = None
        self._configured = True
        self._trusted = False
        self._failures = 0  # in a row

    def problem(self) -> str | None:
        """Say why clients cannot verify this replica yet; None from the first time on that they can.

        Nothing stands in the way either while no client is configured.
        """
        if self._leaf is None:
            return "there is no certificate yet"
        if self._configured and not self._trusted:
            return "the webhook configuration's caBundle does not hold our CA yet"
        return None

    @property
    def wait(self) -> timedelta:
        """How long to wait before the next step: short while there is no certificate, or where lifetimes are short.

        Longer after each failure in a row while there is no certificate, so that the log is not flooded.
        """
        if self._leaf is None:
            return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(self._failures, 8)))
        return min(LONGEST_WAIT, self._spec.leaf_lifetime / 10)

    def step(self, now: datetime) -> None:
        """Do what is due now. What fails is told to `events`, and due again next time."""
        problems: list[str] = []
        ca = self._ca
        try:
            ca = self._shared_ca(now)
        except StoreConflictError:
            pass  # another replica was faster; the next step sees what it wrote
        except StoreError as error:
            problems.append(str(error))
        try:
            if ca is not None:
                self._serve_under(ca, now)
        except InstallError as error:
            problems.append(str(error))
        for problem in problems:
            self._events.failed(problem)
        self._failures = self._failures + 1 if problems else 0

    def _shared_ca(self, now: datetime) -> KeyPair | None:
        stored = self._store.read()
        authority = self._decode(stored[0]) if stored else None
        if stored is None and self._ca is not None:
            self._events.failed("the stored CA is gone, and is replaced")
        bundles = self._trust.read()
        # Bundles that differ are as good as none: some client does not have what the others have.
        published = bundles[0] if bundles and len(set(bundles)) == 1 else b""
        if self._leadership.held(now):
            wanted = self._due(authority, published, now)
            # Trust comes before use: from the moment a CA is stored as the current one, every replica signs with it.
            bundles = self._publish(wanted.bundle(now), bundles)
            if wanted != authority:
                self._store.write(wanted.to_data(), version=stored[1] if stored else None)
            authority = wanted
        ca = authority.current if authority else self._ca
        if bundles is None and self._configured:
            self._events.failed("there is no webhook configuration, so nothing calls; it is watched for")
        self._configured = bundles is not None
        if ca is not None and bundles:
            self._trusted |= all(ca.certificate_pem in split_bundle(bundle) for bundle in bundles)
        return ca

    def _decode(self, data: Mapping[str, bytes]) -> Authority | None:
        try:
            return Authority.from_data(data)
        except UnreadableAuthorityError as error:
            self._events.failed(f"the stored CA cannot be read, and is replaced: {error}")
            return None

    def _due(self, authority: Authority | None, published: bytes, now: datetime) -> Authority:
        spec = self._spec
        if authority is None and self._ca and validity(self._ca.certificate_pem).left(now) > timedelta(0):
            return rotate(self._ca, common_name=spec.common_name, lifetime=spec.ca_lifetime, now=now)
        return advance(
            authority,
            published=published,
            common_name=spec.common_name,
            lifetime=spec.ca_lifetime,
            now=now,
            propagation=spec.propagation,
        )

    def _publish(self, bundle: bytes, bundles: Sequence[bytes] | None) -> Sequence[bytes] | None:
        if bundles is None:
            return None
        if any(present != bundle for present in bundles):
            self._trust.publish(bundle)
            self._events.published()
        return [bundle for _ in bundles]

    def _serve_under(self, ca: KeyPair, now: datetime) -> None:
        if self._leaf is None or self._ca != ca or validity(self._leaf.certificate_pem, backdated=CLOCK_SKEW).due(now):
            if validity(ca.certificate_pem).left(now) <= timedelta(0):
                raise InstallError("the CA has ended, and its successor is not known yet")
            leaf = issue_leaf(
                ca,
                dns_names=self._spec.dns_names,
                ip_addresses=self._spec.ip_addresses,
                lifetime=self._spec.leaf_lifetime,
                now=now,
            )
            self._events.issued(leaf, ca)
            self._ca, self._leaf = ca, leaf
