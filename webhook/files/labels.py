"""Finds labels in objects that make pods, at places from which no controller copies them to the pods."""

from __future__ import annotations

from typing import Any

from webhook.core.names import LABEL
from webhook.files.pointers import mapping, resolve


def misplaced(value: dict[str, Any], kind: str, *, template: str, right: str) -> tuple[str, ...]:
    """Return warnings for labels above a pod template, or in it, that no controller copies to the pods.

    `template` is its pointer, `right` that of the metadata that reaches the pods. Nothing is returned when that has the
    label.
    """
    if not template or _has_label(value, right):
        return ()
    steps = template.split("/")
    above = ["/".join([*steps[:count], "metadata"]) for count in range(1, len(steps) + 1)]
    return tuple(warning(kind, place, f"{right}/labels") for place in above if _has_label(value, place))


def warning(kind: str, place: str, right: str) -> str:
    """Return the warning for a label in the metadata at `place`, which does not reach the pods of an object."""
    where = f"of the {kind}" if place == "/metadata" else f"at {place}/labels of the {kind}"
    return f"the label {LABEL} {where} is not on its pods: put it into {right}"


def labelled(value: Any, at: str = "") -> list[str]:
    """List the pointers of all metadata with the label, anywhere in a value."""
    if isinstance(value, list):
        return [place for index, item in enumerate(value) for place in labelled(item, f"{at}/{index}")]
    places = []
    for key, item in mapping(value).items():
        if key == "labels" and LABEL in mapping(item):
            places.append(at)
        places += labelled(item, f"{at}/{key}")
    return places


def _has_label(value: dict[str, Any], metadata: str) -> bool:
    return LABEL in mapping(mapping(resolve(value, metadata)).get("labels"))
