"""When a certificate is to be renewed. Pure: a validity and a clock in, an answer out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

RENEW_AFTER = 2 / 3
"""The share of the lifetime after which a certificate is renewed (cert-manager's default as well)."""


@dataclass(frozen=True, kw_only=True)
class Validity:
    """From when until when a certificate is valid, and when it was issued. All are aware of their time zone."""

    not_before: datetime
    not_after: datetime
    issued: datetime

    def due(self, now: datetime, *, lifetime: timedelta | None = None) -> bool:
        """Return whether it should be renewed: most of its lifetime has passed, or it is not valid yet.

        The lifetime is that of the certificate, or `lifetime` if that is shorter. A certificate that was issued in the
        future is not renewed as long as it is valid: clocks of different machines differ.
        """
        own = self.not_after - self.issued
        span = own if lifetime is None else min(own, lifetime)
        return now >= self.issued + span * RENEW_AFTER or now < self.not_before

    def left(self, now: datetime) -> timedelta:
        """Return how long it is still valid; negative when it has expired."""
        return self.not_after - now


def validity(certificate_pem: bytes, *, backdated: timedelta = timedelta(0)) -> Validity:
    """Read a certificate's validity. `backdated` is the time between its not-before and its issue.

    Raises ValueError when this is not a certificate in PEM.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return Validity(
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issued=certificate.not_valid_before_utc + backdated,
    )
