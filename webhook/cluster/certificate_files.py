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
    """A certificate in files that something else renews. They are read regularly, and served when they have changed."""

    def __init__(self, folder: Path, events: Events) -> None:
        self._folder, self._events = folder, events
        self._current: KeyPair | None = None
        self._loop = Loop(self.look)

    def start(self) -> None:
        """Start to look at the files."""
        self._loop.start()

    def stop(self) -> None:
        """Stop looking at them."""
        self._loop.stop()

    def problem(self) -> str | None:
        """Return why clients cannot verify this replica yet."""
        if self._current is None:
            return f"{self._folder} has no usable certificate yet"
        ended = validity(self._current.certificate_pem).not_after
        return f"the certificate in {self._folder} expired at {ended.isoformat()}" if ended <= _now() else None

    def look(self) -> timedelta:
        """Serve the certificate in the files if it has changed, and return when to look again.

        A failure is reported to `events`, and retried the next time.
        """
        try:
            found = read_certificate(self._folder)
            if found != self._current:
                self._events.issued(found)
                self._current = found
        except (CertificateFileError, InstallError) as error:
            self._events.failed(str(error))
        return _LOOK_EVERY


def _now() -> datetime:
    return datetime.now(UTC)
