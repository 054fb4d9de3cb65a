"""Serves the certificate in files that something else renews, such as cert-manager."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from certs.files import CertificateFileError, read_certificate
from certs.issue import KeyPair
from certs.ports import Events, InstallError
from certs.renewal import validity
from webhook.cluster.loop import Loop

_LOOK_EVERY = timedelta(seconds=5)


class FromFiles:
    """A certificate in files that something else renews; they are read again when their content has changed."""

    def __init__(self, folder: Path, events: Events) -> None:
        self._folder, self._events = folder, events
        self._current: KeyPair | None = None
        self._loop = Loop(self._step)

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
