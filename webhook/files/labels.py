"""Finds labels and annotations at places in an object from which no controller copies them to its pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from webhook.core.names import ANNOTATION_GROUP, DECISION_ANNOTATION, LABEL
from webhook.files.pointers import mapping, resolve

_PREFIX = f"{ANNOTATION_GROUP}/"


class Mark(NamedTuple):
    """The label or one of the annotations that the webhook reads."""

    name: str
    field: str = "labels"

    @property
    def what(self) -> str:
        """Return its kind and name."""
        return f"{self.field.removesuffix('s')} {self.name}"


def misplaced(value: dict[str, Any], kind: str, *, template: str, right: str) -> tuple[str, ...]:
    """Return warnings for labels and annotations above a pod template, or in it, that do not reach the pods.

    `template` is the template's pointer; `right` is the pointer of the metadata that reaches the pods. Labels and
    annotations that are also there get no warning.
    """
    if not template:
        return ()
    there = set(marks(resolve(value, right)))
    steps = template.split("/")
    above = ["/".join([*steps[:count], "metadata"]) for count in range(1, len(steps) + 1)]
    return tuple(
        warning(kind, mark, place, f"{right}/{mark.field}")
        for place in above
        if place != right
        for mark in marks(resolve(value, place))
        if mark not in there
    )


def warning(kind: str, mark: Mark, place: str, right: str) -> str:
    """Return the warning for a label or annotation at `place`, from which it does not reach the pods of an object."""
    where = f"of the {kind}" if place == "/metadata" else f"at {place}/{mark.field} of the {kind}"
    return f"the {mark.what} {where} does not reach its pods: move it to {right}"


def marks(metadata: Any) -> Iterator[Mark]:
    """List the labels and annotations in metadata that the webhook reads."""
    if LABEL in mapping(mapping(metadata).get("labels")):
        yield Mark(LABEL)
    for name in mapping(mapping(metadata).get("annotations")):
        if name.startswith(_PREFIX) and name != DECISION_ANNOTATION:
            yield Mark(name, "annotations")


def marked(value: Any, at: str = "") -> Iterator[tuple[Mark, str]]:
    """List these labels and annotations anywhere in a value, with the pointers of their metadata."""
    yield from ((mark, at) for mark in marks(value))
    for step, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, (dict, list)):
            yield from marked(item, f"{at}/{step}")
