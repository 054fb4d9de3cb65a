"""The Kubernetes objects in documents, also in lists, and the Namespaces among them."""

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

    `group`: None if neither the object nor its list has an API group. `title`: its name in messages, if not its kind
    and name. `labels`: the labels that another controller adds to its pods.
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
        """Return its metadata; empty without metadata."""
        return mapping(self.value.get("metadata"))

    @property
    def name(self) -> str:
        """Return its name. A name that the API server will generate ends in a placeholder."""
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
    """List the objects in documents, also those in lists. Items of a list of one kind may leave out the kind."""
    return [item for document in documents for item in _objects(document, "", None, "")]


def find_namespaces(documents: Sequence[dict[str, Any]]) -> list[Namespace]:
    """List the Namespaces in documents. Raises DocumentError for other objects, or without a Namespace."""
    namespaces = [read_namespace(item) for item in list_objects(documents)]
    if not namespaces:
        raise DocumentError("no Namespace found")
    return namespaces


def read_namespace(item: Object) -> Namespace:
    """Return the parts of a Namespace that affect decisions. Raises DocumentError for another or a malformed object."""
    if item.kind != "Namespace" or item.group or not item.is_named:
        raise DocumentError("expected Namespaces with a name, but found another object")
    check_strings(item.metadata, item.what)
    metadata = without_nulls(item.metadata)
    return Namespace(item.name, mapping(metadata.get("labels")), mapping(metadata.get("annotations")))


def without_nulls(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata in which each label or annotation with the value null is empty, as in the API server."""
    read = {}
    for kind in ("labels", "annotations"):
        if isinstance(metadata.get(kind), dict):
            read[kind] = {name: "" if value is None else value for name, value in metadata[kind].items()}
    return {**metadata, **read}


def check_strings(metadata: dict[str, Any], what: str) -> None:
    """Raise DocumentError for a label or annotation that is neither a string nor null."""
    for kind in ("labels", "annotations"):
        for name, value in mapping(metadata.get(kind)).items():
            if isinstance(value, bool | int | float):  # the value is "true" or "1" without quotation marks
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
