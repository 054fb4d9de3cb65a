"""What the server needs from a source of certificates, and how it serves, logs and counts each new one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from certs.issue import KeyPair
from certs.renewal import validity
from webhook.serving.metrics import Metrics

_log = logging.getLogger(__name__)

Install = Callable[[KeyPair], None]
"""Puts a certificate into service, from another thread than the server's. Raises InstallError."""


class Certificates(Protocol):
    """What `serve` needs from a source of certificates."""

    def start(self) -> None:
        """Start to keep the certificate valid."""
        ...

    def stop(self) -> None:
        """Stop, and hand over to other replicas."""
        ...

    def problem(self) -> str | None:
        """Return why clients cannot verify this replica yet; None if they can."""
        ...


class CertificateEvents:
    """Logs and counts what a keeper does, and serves its certificates (certs.ports.Events)."""

    def __init__(self, install: Install, metrics: Metrics) -> None:
        self._install, self._metrics = install, metrics

    def issued(self, leaf: KeyPair, ca: KeyPair | None = None) -> None:
        """Serve a new certificate. Raises InstallError."""
        self._install(leaf)
        self._metrics.certificate_renewals.inc()
        expiry = validity(leaf.certificate_pem).not_after
        self._metrics.certificate_expiry.labels("leaf").set(expiry.timestamp())
        if ca:
            self._metrics.certificate_expiry.labels("ca").set(validity(ca.certificate_pem).not_after.timestamp())
        _log.info("certificate in service", extra={"expires": expiry.isoformat()})

    def published(self) -> None:
        """Log and count that the caBundle was written."""
        self._metrics.ca_bundle_repairs.inc()
        _log.info("caBundle written")

    def failed(self, problem: str) -> None:
        """Log and count a failure."""
        self._metrics.certificate_failures.inc()
        _log.warning("certificate upkeep failed", extra={"problem": problem})
