"""The webhook's certificate authority over time: which CA signs, and which CAs clients must trust. Pure.

A CA is replaced in three steps, so that no client ever gets a certificate that it cannot verify:

1. a *next* CA is made. It signs nothing yet, but clients already trust it (it is in the caBundle);
2. when every API server has had time to learn of it, it becomes the *current* CA, which signs. The key of the old CA is
   deleted, and its certificate stays trusted as a *previous* one;
3. a previous CA is dropped when it expires, or one lifetime after its successor was issued if that is sooner. By then
   no certificate that it signed is valid.

To *distrust* a CA whose key has leaked, somebody with write access adds the entry `distrust` to the stored data. All
CAs that are stored at that moment are replaced by the same steps, and dropped as soon as every replica has had time to
follow.

    UnreadableAuthorityError   the stored data is not an authority
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs.issue import CLOCK_SKEW, KeyPair, issue_ca
from certs.renewal import Validity, validity

PROPAGATION = timedelta(minutes=1)
"""How long a new CA is published before it signs: an API server learns of a changed caBundle by a watch, in seconds."""
DISTRUST = "distrust"
"""The entry, with any value, that makes all stored CAs distrusted."""

_CURRENT, _NEXT, _PREVIOUS = ("ca.crt", "ca.key"), ("next.crt", "next.key"), "previous.crt"
_DISTRUSTED, _SINCE = "distrusted.crt", "since"


class UnreadableAuthorityError(Exception):
    """The stored data is not an authority. The message contains no key."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The current CA, the next one, and the certificates of previous ones, the latest first."""

    current: KeyPair
    next: KeyPair | None = None
    previous: tuple[bytes, ...] = ()
    distrusted: frozenset[bytes] = frozenset()
    """The certificates that should no longer be trusted as soon as possible."""
    since: datetime | None = None
    """When the current CA took over from the latest of `previous`."""

    def bundle(self, now: datetime) -> bytes:
        """Return the certificates to trust now, as PEM, the current one first."""
        others = [self.next.certificate_pem] if self.next else []
        alive = [pem for pem in (*others, *self.previous) if validity(pem).left(now) > timedelta(0)]
        return b"".join(dict.fromkeys((self.current.certificate_pem, *alive)))

    def to_data(self) -> dict[str, bytes]:
        """Return the data to store: the content of each entry by its name."""
        data = dict(zip(_CURRENT, (self.current.certificate_pem, self.current.private_key_pem), strict=True))
        if self.next:
            data |= dict(zip(_NEXT, (self.next.certificate_pem, self.next.private_key_pem), strict=True))
        if self.previous:
            data[_PREVIOUS] = b"".join(self.previous)
        if self.distrusted:
            data[_DISTRUSTED] = b"".join(sorted(self.distrusted))
        if self.since:
            data[_SINCE] = self.since.isoformat().encode()
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, bytes]) -> Authority:
        """Read the data that `to_data` returned, possibly with the entry DISTRUST. Raises UnreadableAuthorityError."""
        current, next = _pair(data, *_CURRENT), _pair(data, *_NEXT)  # noqa: A001 - the field's name
        if current is None:
            raise UnreadableAuthorityError(f"{_CURRENT[0]} is missing")
        previous = tuple(split_bundle(data.get(_PREVIOUS, b"")))
        every = {current.certificate_pem, *previous, *([next.certificate_pem] if next else [])}
        distrusted = every if DISTRUST in data else every & set(split_bundle(data.get(_DISTRUSTED, b"")))
        since = _moment(data.get(_SINCE, b""))
        return cls(current=current, next=next, previous=previous, distrusted=frozenset(distrusted), since=since)


def advance(
    authority: Authority | None,
    *,
    published: bytes,
    common_name: str,
    lifetime: timedelta,
    now: datetime,
    propagation: timedelta = PROPAGATION,
) -> Authority:
    """Take the next step if one is due; otherwise return the same authority.

    `published` is the caBundle that clients have now. With no authority, or one whose CAs have all expired, a new one
    is made that signs at once; the CAs in `published` stay trusted, since other replicas may still serve under them.
    """
    if authority is None or _validity(authority.next or authority.current).left(now) <= timedelta(0):
        distrusted = authority.distrusted if authority else frozenset()
        return Authority(
            current=issue_ca(common_name=common_name, lifetime=lifetime, now=now),
            previous=tuple(pem for pem in _alive(split_bundle(published), now) if pem not in distrusted),
        )
    propagation = min(propagation, lifetime / 10)
    authority = _dropped(authority, lifetime=lifetime, propagation=propagation, now=now)
    leaked = authority.current.certificate_pem in authority.distrusted
    span = _validity(authority.current)
    if authority.next is None or authority.next.certificate_pem in authority.distrusted:
        if not (leaked or span.due(now, lifetime=lifetime)):
            return authority
        return replace(authority, next=issue_ca(common_name=common_name, lifetime=lifetime, now=now))
    trusted = authority.next.certificate_pem in split_bundle(published)
    issued = _validity(authority.next).issued
    # If little time remains, use half of it: a CA that most clients trust is better than one that has expired.
    old_enough = now - issued >= min(propagation, span.left(issued) / 2)
    if (trusted and old_enough) or span.left(now) <= timedelta(0):
        return Authority(
            current=authority.next,
            previous=(authority.current.certificate_pem, *authority.previous),
            distrusted=authority.distrusted,
            since=now,
        )
    return authority


def _dropped(authority: Authority, *, lifetime: timedelta, propagation: timedelta, now: datetime) -> Authority:
    """Return the authority without the previous CAs that are no longer to be trusted."""
    followed = authority.since is None or now - authority.since >= propagation
    replaced = authority.current.certificate_pem not in authority.distrusted
    kept: list[bytes] = []
    successor = authority.current.certificate_pem
    for pem in authority.previous:
        overdue = now >= _issued(successor) + lifetime or (pem in authority.distrusted and replaced)
        if validity(pem).left(now) > timedelta(0) and not (overdue and followed):
            kept.append(pem)
        successor = pem
    if len(kept) == len(authority.previous):
        return authority
    present = {authority.current.certificate_pem, *kept, *([authority.next.certificate_pem] if authority.next else [])}
    return replace(authority, previous=tuple(kept), distrusted=authority.distrusted & present)


def rotate(remembered: KeyPair, *, common_name: str, lifetime: timedelta, now: datetime) -> Authority:
    """Return a new authority with the CA that signed this replica's certificate, and with a next CA.

    Used when the stored one is lost: the replica keeps its certificate until clients trust the next CA.
    """
    return Authority(current=remembered, next=issue_ca(common_name=common_name, lifetime=lifetime, now=now))


def split_bundle(bundle: bytes) -> list[bytes]:
    """Split PEM into its certificates, each written as `issue_ca` writes them; none when it is not PEM."""
    try:
        certificates = x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return []
    return [certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates]


def _alive(certificates: Iterable[bytes], now: datetime) -> Iterable[bytes]:
    return (pem for pem in certificates if validity(pem).left(now) > timedelta(0))


def _validity(pair: KeyPair) -> Validity:
    return validity(pair.certificate_pem, backdated=CLOCK_SKEW)


def _issued(certificate_pem: bytes) -> datetime:
    return validity(certificate_pem, backdated=CLOCK_SKEW).issued


def _moment(text: bytes) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _pair(data: Mapping[str, bytes], certificate_name: str, key_name: str) -> KeyPair | None:
    if not data.get(certificate_name):
        return None
    try:
        certificate = x509.load_pem_x509_certificate(data[certificate_name])
        key = serialization.load_pem_private_key(data.get(key_name, b""), password=None)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)  # leaves name it
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise UnreadableAuthorityError(f"{certificate_name} and {key_name} are not a CA in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnreadableAuthorityError(f"{key_name} is not an elliptic curve key")
    if key.public_key() != certificate.public_key():
        raise UnreadableAuthorityError(f"{key_name} does not belong to {certificate_name}")
    if not constraints.ca:
        raise UnreadableAuthorityError(f"{certificate_name} is not the certificate of a CA")
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        private_key_pem=data[key_name],
    )
