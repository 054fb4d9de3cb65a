"""Keeps one replica's certificate valid and trusted, step by step: reads, decides, publishes, stores, issues.

Each replica runs a Keeper. All of them sign their own leaf with the stored CA. When something has to be written, one of
them takes the lead, makes or replaces the CA, and tells clients which CAs to trust. certs.ports has the interfaces to
storage. If nothing is due, a step sends no request: it uses what the watches reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from certs.authority import PROPAGATION, Authority, UnreadableAuthorityError, advance, rotate, split_bundle
from certs.issue import CLOCK_SKEW, KeyPair, issue_leaf
from certs.ports import AuthorityStore, Events, InstallError, Leadership, StoreConflictError, StoreError, TrustBundle
from certs.renewal import validity

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=0.5), timedelta(seconds=5)
"""The time between two steps without and with a certificate, unless something wakes the keeper."""


@dataclass(frozen=True, kw_only=True)
class CertificateSpec:
    """What the certificates should be like."""

    common_name: str
    dns_names: Sequence[str]
    ip_addresses: Sequence[str] = ()
    ca_lifetime: timedelta
    leaf_lifetime: timedelta
    propagation: timedelta = PROPAGATION


class _Found(NamedTuple):
    """What is stored and published. `authority` is None if nothing is stored or it cannot be read."""

    authority: Authority | None
    version: str | None
    bundles: Sequence[bytes] | None
    problem: str | None


class Keeper:
    """One replica's certificate. Call `step` from one thread, regularly and whenever something stored changes."""

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
        """Return why clients cannot verify this replica yet, or None.

        There is no problem while no client is configured.
        """
        if self._leaf is None:
            return "there is no certificate yet"
        if self._configured and not self._trusted:
            return "the CA is not yet in the caBundle of the webhook configuration"
        return None

    @property
    def wait(self) -> timedelta:
        """Return how long to wait before the next step: a short time without a certificate, or if lifetimes are short.

        Without a certificate, each failure in a row makes it longer, so that the log is not flooded.
        """
        if self._leaf is None:
            return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(self._failures, 8)))
        return min(LONGEST_WAIT, self._spec.leaf_lifetime / 10)

    def step(self, now: datetime) -> None:
        """Do what is due now. Failures are reported to `events`, and retried at the next step."""
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
        found = self._look(live=False)
        wanted = self._due(found, now)
        if _differs(wanted, found, now) and self._leadership.held(now):
            # Another replica may have done it a moment ago.
            found = self._look(live=True)
            wanted = self._due(found, now)
            # Trust comes before use: from the moment a CA is stored as the current one, every replica signs with it.
            found = self._publish(wanted.bundle(now), found)
            if wanted != found.authority:
                self._store.write(wanted.to_data(), version=found.version)
            found = found._replace(authority=wanted)
        if found.problem:
            self._events.failed(found.problem)
        ca = found.authority.current if found.authority else self._ca
        if found.bundles is None and self._configured:
            self._events.failed(
                "the webhook configuration was not found, so the API server does not call this webhook; it is used as "
                "soon as it exists"
            )
        self._configured = found.bundles is not None
        if ca is not None and found.bundles:
            self._trusted |= all(ca.certificate_pem in split_bundle(bundle) for bundle in found.bundles)
        return ca

    def _look(self, *, live: bool) -> _Found:
        stored, bundles = self._store.read(live=live), self._trust.read(live=live)
        if stored is None:
            problem = "the stored CA was deleted, and is replaced" if self._ca is not None else None
            return _Found(None, None, bundles, problem)
        data, version = stored
        try:
            return _Found(Authority.from_data(data), version, bundles, None)
        except UnreadableAuthorityError as error:
            return _Found(None, version, bundles, f"the stored CA cannot be read, and is replaced: {error}")

    def _due(self, found: _Found, now: datetime) -> Authority:
        spec = self._spec
        if found.authority is None and self._ca and validity(self._ca.certificate_pem).left(now) > timedelta(0):
            return rotate(self._ca, common_name=spec.common_name, lifetime=spec.ca_lifetime, now=now)
        # Different bundles count as none: some clients lack a CA that others have.
        published = found.bundles[0] if found.bundles and len(set(found.bundles)) == 1 else b""
        return advance(
            found.authority,
            published=published,
            common_name=spec.common_name,
            lifetime=spec.ca_lifetime,
            now=now,
            propagation=spec.propagation,
        )

    def _publish(self, bundle: bytes, found: _Found) -> _Found:
        if found.bundles is None:
            return found
        if any(present != bundle for present in found.bundles):
            self._trust.publish(bundle)
            self._events.published()
        return found._replace(bundles=[bundle for _ in found.bundles])

    def _serve_under(self, ca: KeyPair, now: datetime) -> None:
        if self._leaf is None or self._ca != ca or validity(self._leaf.certificate_pem, backdated=CLOCK_SKEW).due(now):
            if validity(ca.certificate_pem).left(now) <= timedelta(0):
                raise InstallError("the CA has expired, and its successor is not known yet")
            leaf = issue_leaf(
                ca,
                dns_names=self._spec.dns_names,
                ip_addresses=self._spec.ip_addresses,
                lifetime=self._spec.leaf_lifetime,
                now=now,
            )
            self._events.issued(leaf, ca)
            self._ca, self._leaf = ca, leaf


def _differs(wanted: Authority, found: _Found, now: datetime) -> bool:
    """Return whether there is something to write."""
    return wanted != found.authority or any(bundle != wanted.bundle(now) for bundle in found.bundles or ())
