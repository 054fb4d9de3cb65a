"""The port through which a review's namespace is looked up: who serves reviews asks, who knows the cluster answers."""

from __future__ import annotations

from typing import Protocol

from webhook.core.configuration import Namespace


class LookupFailedError(Exception):
    """A namespace could not be read now. The message says why."""


class Namespaces(Protocol):
    """Where namespaces' labels and annotations come from."""

    def known(self, name: str) -> Namespace | None:
        """Give what is known already, at once, even if it may be old; None when nothing is."""
        ...

    def fresh(self) -> bool:
        """Whether what is known can be relied on."""
        ...

    async def read(self, name: str) -> Namespace:
        """Read it now. Raises LookupFailedError."""
        ...
