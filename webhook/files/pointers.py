"""Finds values in a document by JSON Pointers (RFC 6901), in which ``*`` is each key or item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

_DIRECTIVES = frozenset({"$patch", "$retainKeys", "$setElementOrder", "$deleteFromPrimitiveList"})


class Place(NamedTuple):
    """A value in a document. `part` is the key, or the item's name, at the ``*``."""

    pointer: str
    value: Any
    part: str = ""


def resolve(value: Any, pointer: str) -> Any:
    """Return the value at a pointer, or None."""
    for step in pointer.split("/")[1:]:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step.replace("~1", "/").replace("~0", "~"))
        else:
            return None
    return value


def expand(value: Any, pattern: str) -> Iterator[Place]:
    """List the places that match a pattern and have a value.

    Raises TypeError, with the pointer of a value that is neither a mapping nor a list.
    """
    before, star, rest = pattern.partition("/*")
    several = resolve(value, before)
    if several is None:
        return
    if not star:
        yield Place(before, several)
        return
    if not isinstance(several, (dict, list)):
        raise TypeError(before)
    for step, item in several.items() if isinstance(several, dict) else enumerate(several):
        escaped = str(step).replace("~", "~0").replace("/", "~1")
        for place in expand(item, rest):
            part = step if isinstance(step, str) else _name(item)
            yield Place(f"{before}/{escaped}{place.pointer}", place.value, place.part or part)


def has_directive(value: Any) -> bool:
    """Return whether a value has a directive of a strategic merge patch in it, such as ``$patch: delete``.

    Kubernetes: ``apimachinery/pkg/util/strategicpatch/patch.go``.
    """
    if isinstance(value, dict):
        named = any(isinstance(key, str) and key.partition("/")[0] in _DIRECTIVES for key in value)
        return named or any(has_directive(item) for item in value.values())
    return isinstance(value, list) and any(has_directive(item) for item in value)


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping; empty if the value is something else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return a list; empty if the value is something else."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """Return a text; empty if the value is something else."""
    return value if isinstance(value, str) else ""


def _name(item: Any) -> str:
    return text(mapping(item).get("name")) or text(mapping(item).get("groupName"))
