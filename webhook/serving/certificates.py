"""What the server needs of a source of certificates, and what it does with each new one: serve it, log it, count it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from certs.issue import KeyPair
from certs.renewal import validity
from webhook.serving.metrics import Metrics

_log = logging.getLogger(__name__)

Install = Callable[[KeyPair], None]
"""Puts a certificate into service, from a thread that is not the server's. Raises InstallError."""


class Certificates(Protocol):
    """What `serve` needs of a source of certificates."""

    def start(self) -> None:
        """Begin to keep the certificate fresh."""
        ...

    def stop(self) -> None:
        """End, and hand over to other replicas."""
        ...

    def problem(self) -> str | None:
        """Say why clients cannot verify this replica yet."""
        ...


class CertificateEvents:
    """Turns what a keeper does into logs, metrics and a served certificate (certs.ports.Events)."""

    def __init__(self, install: Install, metrics: Metrics) -> None:
        self._install, self._metrics = install, metrics

    def issued(self, leaf: KeyPair, ca: KeyPair | None = None) -> None:
        """Serve under a new leaf. Raises InstallError."""
        self._install(leaf)
        self._metrics.certificate_renewals.inc()
        expiry = validity(leaf.certificate_pem).not_after
        self._metrics.certificate_expiry.labels("leaf").set(expiry.timestamp())
        if ca:
            self._metrics.certificate_expiry.labels("ca").set(validity(ca.certificate_pem).not_after.timestamp())
        _log.info("certificate in service", extra={"expires": expiry.isoformat()})

    def published(self) -> None:
        """Note that the caBundle was written."""
        self._metrics.ca_bundle_repairs.inc()
        _log.info("caBundle written")

    def failed(self, problem: str) -> None:
        """Note what did not work."""
        self._metrics.certificate_failures.inc()
        _log.warning("certificate upkeep failed", extra={"problem": problem})
