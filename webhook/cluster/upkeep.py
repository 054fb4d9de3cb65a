"""Puts certificates into the running server, and keeps them fresh: from a CA of the webhook's own, or from files."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from certs.files import CertificateFileError, read_certificate
from certs.issue import KeyPair
from certs.keeper import InstallError, Keeper, StoreError
from certs.renewal import validity
from webhook.cluster import LeaseLeadership
from webhook.informer import Follower, Informer
from webhook.metrics import Metrics

_LOOK_EVERY = timedelta(seconds=5)
_LEAST_PAUSE = timedelta(seconds=0.5)

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
    """Turns what a keeper does into logs, metrics and a served certificate (certs.keeper.Events)."""

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


class _Loop:
    """Calls a step in a thread: at once, again after the time it gives back, and soon after it is woken."""

    def __init__(self, step: Callable[[], timedelta]) -> None:
        self._step = step
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping.is_set():
                return
            wait = timedelta(seconds=5)
            try:
                wait = self._step()
            except Exception:  # noqa: BLE001 - as said below
                # A fault of ours must not end the upkeep; the certificate in service is still good for days.
                _log.exception("certificate upkeep failed by a fault of the webhook")
            # What it does may wake it, or something that undoes what it does: that must not make it spin.
            self._stopping.wait(_LEAST_PAUSE.total_seconds())
            self._wake.wait(max(wait - _LEAST_PAUSE, timedelta(0)).total_seconds())


class _Waker:
    """An informer's follower that wakes a loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:  # noqa: ARG002 - that it changed is enough
        self._wake()

    def changed(self, type: str, object: dict[str, Any]) -> None:  # noqa: A002, ARG002 - the event's own words
        self._wake()


class SelfSigned:
    """A CA of the webhook's own, shared by its replicas."""

    def __init__(self, keeper: Keeper, leadership: LeaseLeadership, *, watch: Callable[[Follower], Informer]) -> None:
        self._keeper, self._leadership = keeper, leadership
        self._loop = _Loop(self._step)
        self._informer = watch(_Waker(self._loop.wake))

    def start(self) -> None:
        """Begin to keep the certificate fresh."""
        self._loop.start()
        self._informer.start()

    def stop(self) -> None:
        """End, and give the lease to another replica."""
        self._informer.stop()
        self._loop.stop()
        try:
            self._leadership.give_up(datetime.now(UTC))
        except StoreError as error:
            _log.warning("the lease could not be released", extra={"problem": str(error)})

    def problem(self) -> str | None:
        """Say why clients cannot verify this replica yet."""
        return self._keeper.problem()

    def _step(self) -> timedelta:
        self._keeper.step(datetime.now(UTC))
        return self._keeper.wait


class FromFiles:
    """A certificate in files that something else renews; they are read again when their content has changed."""

    def __init__(self, folder: Path, events: CertificateEvents) -> None:
        self._folder, self._events = folder, events
        self._current: KeyPair | None = None
        self._loop = _Loop(self._step)

    def start(self) -> None:
        """Begin to look at the files."""
        self._loop.start()

    def stop(self) -> None:
        """End."""
        self._loop.stop()

    def problem(self) -> str | None:
        """Say why clients cannot verify this replica yet."""
        if self._current is None:
            return f"{self._folder} holds no usable certificate yet"
        ended = validity(self._current.certificate_pem).not_after
        return f"the certificate in {self._folder} ended at {ended.isoformat()}" if ended <= datetime.now(UTC) else None

    def _step(self) -> timedelta:
        try:
            found = read_certificate(self._folder)
            if found != self._current:
                self._events.issued(found)
                self._current = found
        except (CertificateFileError, InstallError) as error:
            self._events.failed(str(error))
        return _LOOK_EVERY
