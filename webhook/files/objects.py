"""The Kubernetes objects in documents, lists taken apart, and the Namespaces among them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from webhook.core.configuration import Namespace
from webhook.files.generated import with_placeholder
from webhook.files.loading import DocumentError
from webhook.files.pointers import items, mapping, resolve, text


class Object(NamedTuple):
    """An object and its place in its document.

    `group` None: neither it nor its list names an API group. `title`: what to call it, if not by its kind and name.
    `labels`: those that another controller adds to its pods.
    """

    document: dict[str, Any]
    at: str
    value: dict[str, Any]
    group: str | None
    kind: str
    title: str = ""
    labels: Mapping[str, str] = {}

    @property
    def metadata(self) -> dict[str, Any]:
        """Return its metadata, empty when it has no metadata."""
        return mapping(self.value.get("metadata"))

    @property
    def name(self) -> str:
        """Return its name; one that the API server will generate ends in a placeholder."""
        return text(self.metadata.get("name")) or with_placeholder(text(self.metadata.get("generateName")))

    @property
    def is_named(self) -> bool:
        """Return whether it has a name that is not generated."""
        return bool(text(self.metadata.get("name")))

    @property
    def namespace(self) -> str | None:
        """Return the namespace that it names."""
        return text(self.metadata.get("namespace")) or None

    @property
    def what(self) -> str:
        """Return its kind and name, for messages."""
        if self.title:
            return self.title
        if not self.kind:
            return "a document without a kind"
        return f"{self.kind} {self.name}" if self.name else f"a {self.kind} without a name"


def list_objects(documents: Sequence[dict[str, Any]]) -> list[Object]:
    """List the objects in documents, with those in lists. Items of a list of one kind may leave out their own kind."""
    return [item for document in documents for item in _objects(document, "", None, "")]


def find_namespaces(documents: Sequence[dict[str, Any]]) -> list[Namespace]:
    """List the Namespaces in documents. Raises DocumentError for anything else, or when nothing is found."""
    namespaces = [read_namespace(item) for item in list_objects(documents)]
    if not namespaces:
        raise DocumentError("no Namespace found")
    return namespaces


def read_namespace(item: Object) -> Namespace:
    """Return what decides of a Namespace. Raises DocumentError when it is something else, or malformed."""
    if item.kind != "Namespace" or item.group or not item.is_named:
        raise DocumentError("expected Namespaces with a name, and found something else")
    check_strings(item.metadata, item.what)
    metadata = without_nulls(item.metadata)
    return Namespace(item.name, mapping(metadata.get("labels")), mapping(metadata.get("annotations")))


def without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata in which null as the value of a label or annotation is empty text, as the API server reads it."""
    read = {}
    for kind in ("labels", "annotations"):
        if isinstance(metadata.get(kind), dict):
            read[kind] = {name: "" if value is None else value for name, value in metadata[kind].items()}
    return {**metadata, **read}


def check_strings(metadata: dict[str, Any], what: str) -> None:
    """Raise DocumentError for a label or annotation that is neither a string nor null."""
    for kind in ("labels", "annotations"):
        for name, value in mapping(metadata.get(kind)).items():
            if isinstance(value, bool | int | float):  # what a forgotten pair of quotation marks makes of "true" or "1"
                written = json.dumps(value)
                raise DocumentError(
                    f'{what}: {kind[:-1]} {name} is {written}, not a string: write "{written}" in quotation marks'
                )
            if isinstance(value, dict | list):
                shape = "mapping" if isinstance(value, dict) else "list"
                raise DocumentError(f"{what}: {kind[:-1]} {name} is a {shape}, not a string")


def _objects(document: dict[str, Any], at: str, group: str | None, item_of: str) -> Iterator[Object]:
    here = mapping(resolve(document, at))
    version = text(here.get("apiVersion"))
    if version:
        group = version.rpartition("/")[0]
    kind = text(here.get("kind")) or item_of
    if kind == "List" or (kind.endswith("List") and isinstance(here.get("items"), list)):
        of_items = None if kind == "List" else group
        for index, _ in enumerate(items(here.get("items"))):
            yield from _objects(document, f"{at}/items/{index}", of_items, kind.removesuffix("List"))
    else:
        is_pod = not kind and isinstance(mapping(here.get("spec")).get("containers"), list)
        yield Object(document, at, here, group, "Pod" if is_pod else kind)
