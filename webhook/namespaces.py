"""Namespaces that are given, for `serve --standalone`: from the command line or from a file."""

from __future__ import annotations

from collections.abc import Iterable

from webhook.core.configuration import Namespace


class StaticNamespaces:
    """Knows the namespaces it was given; any other one has neither labels nor annotations."""

    def __init__(self, namespaces: Iterable[Namespace]) -> None:
        self._namespaces = {namespace.name: namespace for namespace in namespaces}

    def known(self, name: str) -> Namespace:
        """Give a namespace."""
        return self._namespaces.get(name) or Namespace(name, {}, {})

    def fresh(self) -> bool:
        """Say that nothing here grows old."""
        return True

    async def read(self, name: str) -> Namespace:
        """Give a namespace."""
        return self.known(name)
