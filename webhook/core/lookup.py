"""The interface through which webhook.serving looks up a review's namespace; webhook.cluster implements it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from webhook.core.configuration import Namespace


class LookupOutcome(StrEnum):
    """How a live look-up ended; the values are labels of a metric."""

    READ = "read"
    NOT_FOUND = "not_found"
    FAILED = "failed"
    LIMITED = "limited"


class LookupFailedError(Exception):
    """A namespace could not be read now. The message says why, `outcome` which kind of failure it is."""

    def __init__(self, message: str, outcome: LookupOutcome = LookupOutcome.FAILED) -> None:
        super().__init__(message)
        self.outcome = outcome


class Namespaces(Protocol):
    """Where namespaces' labels and annotations come from."""

    def known(self, name: str) -> Namespace | None:
        """Return what is known without asking, even if it may be out of date; None when nothing is."""
        ...

    def fresh(self) -> bool:
        """Return whether what is known can be relied on."""
        ...

    async def read(self, name: str) -> Namespace:
        """Read it now. Raises LookupFailedError."""
        ...
