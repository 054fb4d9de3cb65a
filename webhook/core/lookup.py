"""The interface through which webhook.serving looks up a review's namespace; webhook.cluster implements it."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from webhook.core.configuration import Namespace


class LookupOutcome(StrEnum):
    """How a live lookup ended. The values are labels of a metric."""

    READ = "read"
    NOT_FOUND = "not_found"
    FAILED = "failed"
    LIMITED = "limited"


class LookupFailedError(Exception):
    """A namespace could not be read. The message says why; `outcome` is the kind of failure."""

    def __init__(self, message: str, outcome: LookupOutcome = LookupOutcome.FAILED) -> None:
        super().__init__(message)
        self.outcome = outcome


class Namespaces(Protocol):
    """A source of namespaces' labels and annotations."""

    def known(self, name: str) -> Namespace | None:
        """Return the namespace as it is known without a request, or None. It may be out of date."""
        ...

    def fresh(self) -> bool:
        """Return whether the known namespaces are up to date."""
        ...

    async def read(self, name: str) -> Namespace:
        """Read it now. Raises LookupFailedError."""
        ...
