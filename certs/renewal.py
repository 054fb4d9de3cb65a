"""When a certificate is to be renewed. Pure: a validity and a clock in, an answer out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

RENEW_AFTER = 2 / 3
"""The share of the lifetime after which a certificate is renewed (cert-manager's default as well)."""


@dataclass(frozen=True, kw_only=True)
class Validity:
    """From when until when a certificate is valid. Both are aware of their time zone."""

    not_before: datetime
    not_after: datetime

    @property
    def renew_at(self) -> datetime:
        """The moment from which on it should be renewed."""
        return self.not_before + (self.not_after - self.not_before) * RENEW_AFTER

    def due(self, now: datetime) -> bool:
        """Whether it should be renewed: it is old enough, or its time lies in the future by a clock that was wrong."""
        return now >= self.renew_at or now < self.not_before

    def left(self, now: datetime) -> timedelta:
        """How long it is still valid; negative when it has ended."""
        return self.not_after - now


def validity(certificate_pem: bytes, *, backdated: timedelta = timedelta(0)) -> Validity:
    """Read a certificate's validity. `backdated` is how far before its making its not-before was set.

    Raises ValueError when this is not a certificate in PEM.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return Validity(
        not_before=certificate.not_valid_before_utc + backdated,
        not_after=certificate.not_valid_after_utc,
    )
