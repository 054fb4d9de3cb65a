"""How kubectl reads a plain YAML word: as a number, a boolean, null or text.

Observed with kubectl 1.32 (``annotate --local -o json``): ``y`` and ``off`` are booleans, ``0o644`` and ``0644`` are
octal, ``1e3`` is a number; ``10:30`` and ``2026-01-01`` are text. This differs from both YAML 1.1 and 1.2.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite

Scalar = str | bool | int | float | None

_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BETWEEN_DIGITS = re.compile("(?<=[0-9])_(?=[0-9])")
_LONGEST_INTEGER = 80
"""Characters. A number of 64 bits has at most 66 digits, and a sign."""
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys([f(word) for word in ("y", "yes", "true", "on") for f in (str.lower, str.title, str.upper)], True),
    **dict.fromkeys(
        [f(word) for word in ("n", "no", "false", "off") for f in (str.lower, str.title, str.upper)], False
    ),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
    **dict.fromkeys([sign + word for word in (".inf", ".Inf", ".INF") for sign in ("", "+")], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
}


@lru_cache(4096)
def plain_value(word: str) -> Scalar:
    """Return the value of a plain word, which may be NaN or infinite; most words are text."""
    if word in _WORDS:
        return _WORDS[word]
    if word[0] not in "+-.0123456789":
        return word
    digits = _BETWEEN_DIGITS.sub("", word) if word[0] == "." else word.replace("_", "")
    integer = _integer(digits)
    if integer is not None:
        return integer
    if not _FLOAT.fullmatch(digits):
        return word
    number = float(digits)
    if not isfinite(number):
        return word
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _integer(digits: str) -> int | None:
    if len(digits) > _LONGEST_INTEGER or not _INTEGER.fullmatch(digits):
        return None
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    integer = int(octal[1] + octal[2], 8) if octal else int(digits, 0)
    return integer if -(2**63) <= integer < 2**64 else None
