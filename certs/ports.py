"""The interfaces that the keeper needs: the CA's storage, the clients' trust, the leadership, and events.

StoreError                a port failed, and may succeed later; the message says why
└── StoreConflictError    something else wrote first: read again
InstallError              a certificate could not be put into service; the message says why
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from certs.issue import KeyPair


class StoreError(Exception):
    """A port failed, and may succeed later."""


class StoreConflictError(StoreError):
    """Something else wrote first."""


class InstallError(Exception):
    """A certificate could not be put into service."""


class AuthorityStore(Protocol):
    """Where the authority is kept for all replicas."""

    def read(self, *, live: bool) -> tuple[Mapping[str, bytes], str] | None:
        """Return the data and its version; None when nothing is stored. Raises StoreError.

        Unless `live`, what is known from watching is enough, even if it is a moment old.
        """
        ...

    def write(self, data: Mapping[str, bytes], *, version: str | None) -> None:
        """Replace the data if it still has that version (None: create it). Raises StoreConflictError, StoreError."""
        ...


class TrustBundle(Protocol):
    """Where clients look up which CAs to trust."""

    def read(self, *, live: bool) -> Sequence[bytes] | None:
        """Return the bundle of each client configuration; None when nothing is configured. Raises StoreError.

        Unless `live`, what is known from watching is enough, even if it is a moment old.
        """
        ...

    def publish(self, bundle: bytes) -> None:
        """Write the bundle to all of them. Raises StoreError."""
        ...


class Leadership(Protocol):
    """Which replica writes."""

    def held(self, now: datetime) -> bool:
        """Take or keep it if possible, and return whether this replica has it. Raises StoreError."""
        ...


class Events(Protocol):
    """What the keeper reports."""

    def issued(self, leaf: KeyPair, ca: KeyPair | None = None) -> None:
        """Put a new leaf into service; `ca` is the CA that signed it, where it is known. Raises InstallError."""
        ...

    def published(self) -> None:
        """Clients were told which CAs to trust."""
        ...

    def failed(self, problem: str) -> None:
        """Something failed; it will be retried."""
        ...
