"""What may be printed on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text with its control characters escaped: a terminal would obey those of servers and tokens."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
