"""Reads files into Kubernetes objects, and knows which part of the file each came from."""

from __future__ import annotations

from typing import Any, NamedTuple

from webhook.files.events import FormatError
from webhook.files.formats import find_documents
from webhook.files.pointers import mapping


class DocumentError(Exception):
    """A document cannot be read, or is malformed; the message says which, where and why."""


class Loaded(NamedTuple):
    """An object, and the part of the text that it was read from.

    `exact`: whether the text is this object. It is not for the object in an AdmissionReview, and for items of an array.
    """

    value: dict[str, Any]
    start: int
    end: int
    is_json: bool = False
    exact: bool = True


def load(text: str) -> list[Loaded]:
    """Read YAML or JSON documents. From an AdmissionReview, return the object in it; from an array, its items.

    Raises DocumentError.
    """
    try:
        documents = find_documents(text)
    except FormatError as error:
        hint = "; if it is a template, render it first (helm template …)" if "{{" in text else ""
        raise DocumentError(f"{error}{hint}") from None
    loaded = []
    for number, document in enumerate((document for document in documents if document.value is not None), 1):
        several = document.value if isinstance(document.value, list) else [document.value]
        for value in several:
            if not isinstance(value, dict):
                raise DocumentError(f"document {number} is not a Kubernetes object")
            unwrapped = _unwrap(value, number)
            exact = several is not document.value and unwrapped is value
            loaded.append(Loaded(unwrapped, document.start, document.end, document.is_json, exact))
    return loaded


def _unwrap(document: dict[str, Any], number: int) -> dict[str, Any]:
    if document.get("kind") != "AdmissionReview":
        return document
    request = mapping(document.get("request"))
    review_object = request.get("object")
    if not isinstance(review_object, dict):
        raise DocumentError(f"document {number} is an AdmissionReview without an object")
    operation = request.get("operation", "CREATE")
    asked = mapping(request.get("resource"))
    about = (asked.get("group") or "", asked.get("resource", "pods"), request.get("subResource") or "")
    if operation != "CREATE" or about != ("", "pods", ""):
        what = f"{operation} {'/'.join(str(part) for part in about[1:] if part)}"
        raise DocumentError(f"document {number} is the review of {what}; the webhook decides about CREATE pods only")
    # the object's own namespace may be missing; then it is that of the request
    metadata = {**mapping(review_object.get("metadata"))}
    if request.get("namespace"):
        metadata.setdefault("namespace", request["namespace"])
    return {"apiVersion": "v1", "kind": "Pod", **review_object, "metadata": metadata}
