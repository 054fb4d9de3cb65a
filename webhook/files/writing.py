"""Writes YAML that kubectl and other parsers read back as the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import yaml

from webhook.files.words import plain_value

_PLAIN = re.compile(
    r"[A-Za-z0-9_./$(+][A-Za-z0-9_./$()\[\]{},!?+*&=@~^;%<>'\"|\\-]*"
    r"(?:(?: +|:+)[A-Za-z0-9_./$()\[\]{},!?+*=@~^;%<>'\"|\\-]+)*"
)
"""Words that need no quotation marks, if kubectl reads them as text."""
_LINES = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]*")
"""Text that can be written as a block: without characters that YAML forbids or reads as line breaks."""
_TO_ESCAPE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LONGEST_KEY = 120
"""Characters. YAML expects the colon after a key within 1024 characters."""

_LONGEST_PLAIN = 400
_YAML_1_1 = yaml.resolver.Resolver()


def dump_yaml(document: Mapping[str, Any]) -> str:
    """Write a document as YAML that kubectl reads back as the same. Long text becomes blocks."""
    return "".join(f"{line}\n" for line in _mapping(document, "")) if document else "{}\n"


def _mapping(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        name = _scalar(key)
        if len(name) > _LONGEST_KEY:
            yield f"{indent}? {name}"
            name = ""
        yield from _entry(f"{indent}{name}:", value, indent)


def _list(items: list[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, (dict, list)) and item:
            lines = _mapping(item, indent + "  ") if isinstance(item, dict) else _list(item, indent + "  ")
            first = next(lines)
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from lines
        else:
            yield from _entry(f"{indent}-", item, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    """Write the value of a key, or an item after its hyphen."""
    if isinstance(value, dict) and value:
        yield head
        yield from _mapping(value, indent + "  ")
    elif isinstance(value, list) and value:
        yield head
        yield from _list(value, indent)
    elif isinstance(value, str) and "\n" in value and value.strip("\n") and _LINES.fullmatch(value):
        yield from _block(head, value, indent + "  ")
    else:
        yield f"{head} {_scalar(value)}"


def _block(head: str, text: str, indent: str) -> Iterator[str]:
    kept = "" if text.endswith("\n") else "-"
    if text.endswith("\n\n"):
        kept = "+"
    depth = "2" if text[0] in " \n\t" else ""  # otherwise the first line would decide the indentation of the block
    yield f"{head} |{depth}{kept}"
    for line in text.removesuffix("\n").split("\n"):
        yield f"{indent}{line}" if line else ""


@lru_cache(4096)
def _is_plain(text: str) -> bool:
    if len(text) > _LONGEST_PLAIN or not _PLAIN.fullmatch(text) or plain_value(text) != text:
        return False
    # other programs may read the file: in YAML 1.1, 1:30 is a number and 2026-01-01 a date
    return bool(_YAML_1_1.resolve(yaml.ScalarNode, text, (True, False)) == "tag:yaml.org,2002:str")  # type: ignore[no-untyped-call]


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        number = json.dumps(value)
        # in YAML 1.1, 1e-9 is text
        return number.replace("e", ".0e") if isinstance(value, float) and "." not in number else number
    if _is_plain(value):
        return value
    if value.isprintable() and "\ufeff" not in value:
        return "'" + value.replace("'", "''") + "'"
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
