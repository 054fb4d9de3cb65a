"""Finds pods in documents: a pod, a captured AdmissionReview, a list, or an object with a pod template in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec.structs import replace

from webhook.core.configuration import Namespace, Platform, Source, Sourced
from webhook.core.decision import Decision, decide
from webhook.core.names import LABEL
from webhook.core.patch import Operation, patch
from webhook.core.reasons import Verdict
from webhook.core.review import MalformedReviewError, Pod, decode_pod
from webhook.files.events import FormatError
from webhook.files.formats import read_documents

_TEMPLATES = {
    "PodTemplate": "/template",
    "Deployment": "/spec/template",
    "ReplicaSet": "/spec/template",
    "StatefulSet": "/spec/template",
    "DaemonSet": "/spec/template",
    "ReplicationController": "/spec/template",
    "Job": "/spec/template",
    "CronJob": "/spec/jobTemplate/spec/template",
}
_JOBSETS = {
    "JobSet": "/spec/replicatedJobs",
    "TrainingRuntime": "/spec/template/spec/replicatedJobs",
    "ClusterTrainingRuntime": "/spec/template/spec/replicatedJobs",
}
_RUNTIMES = frozenset({"TrainingRuntime", "ClusterTrainingRuntime"})
_JOBSET_LABELS = "jobset.sigs.k8s.io/"
_WITHOUT = {
    "TrainJob": "its pods come from its runtime: give that, or a pod that it made (kubectl get pod NAME -o yaml)",
    "Workflow": "its pods are made by Argo: give one that it made (kubectl get pod NAME -o yaml)",
}
_NOT_TEXT = re.compile(r"Expected `str[^`]*`, got `(int|float|bool)`")


_LEFT_TO_THE_WEBHOOK = (
    "this is the template of a runtime: experiment and lineage come from each TrainJob's name, "
    "and are added to its pods by the webhook"
)


class DocumentError(Exception):
    """A document cannot be read, or holds no pod; the message says which and why."""


class NoPodError(DocumentError):
    """An object is of a kind that holds no pod. `what` names it."""

    def __init__(self, what: str, kind: str) -> None:
        known = ["Pod", "AdmissionReview", "List", *_TEMPLATES, *_JOBSETS]
        meant = next((name for name in known if name.lower() == kind.lower()), None)
        hint = _WITHOUT.get(kind) or (f"is {meant} meant?" if meant else f"kinds that have one: {', '.join(known)}")
        super().__init__(f"{what} has no pod template; {hint}")
        self.what = what


class PodInDocument(NamedTuple):
    """A pod or pod template, where it stands in its document, and the namespace it says it is in.

    `what` names it. `for_any_job`: the template is a runtime's, for pods of TrainJobs whose names are not known here.
    `warning` is about where it stands.
    """

    document: dict[str, Any]
    at: str
    pod: Pod
    namespace: str | None
    what: str
    for_any_job: bool = False
    warning: str = ""


def load_documents(text: str) -> list[dict[str, Any]]:
    """Read YAML or JSON documents. An AdmissionReview stands for the object in it. Raises DocumentError."""
    try:
        documents = read_documents(text)
    except FormatError as error:
        hint = "; is it a template? Render it first (helm template …), and give the result" if "{{" in text else ""
        raise DocumentError(f"{error}{hint}") from None
    objects = []
    for number, document in enumerate(documents, 1):
        if isinstance(document, list):
            raise DocumentError(f"document {number} is a list, not a Kubernetes object: make it the items of a List")
        if not isinstance(document, dict):
            raise DocumentError(f"document {number} is not a Kubernetes object")
        objects.append(_unwrap(document, number))
    if not objects:
        raise DocumentError("there is no document in it")
    return objects


def find_pods(document: dict[str, Any], *, at: str = "", item_of: str = "") -> list[PodInDocument]:
    """List the pods and pod templates of a document.

    Raises NoPodError when it is of a kind that holds none, DocumentError when one is malformed. In a list, what holds
    no pod is passed over. `item_of` is the kind of the list that it is an item of, and may leave out its own.
    """
    here = _resolve(document, at)
    kind = str(here.get("kind") or item_of.removesuffix("List") or None)
    if kind == "List" or (kind.endswith("List") and isinstance(here.get("items"), list)):
        places = [f"{at}/items/{index}" for index, item in enumerate(_items(here)) if isinstance(item, dict)]
        found = []
        for place in places:
            with suppress(NoPodError):
                found += find_pods(document, at=place, item_of=kind)
        return found
    metadata = _mapping(here.get("metadata"))
    shown = "Pod" if kind == "None" else kind
    what = f"{shown} {metadata['name']}" if metadata.get("name") else f"a {shown} without a name"
    pods = []
    for pointer, assumed in _templates(here, kind):
        template = _resolve(here, pointer)
        pods.append(
            PodInDocument(
                document,
                at + pointer,
                _decode(template, assumed, what),
                _text(metadata.get("namespace")),
                str(metadata.get("name") or metadata.get("generateName") or "pod") if kind in {"Pod", "None"} else what,
                for_any_job=kind in _RUNTIMES,
                warning=_misplaced_label(kind, metadata, template, pointer),
            )
        )
    if not pods and "kind" not in here:
        raise DocumentError("a document without a kind, so not a Kubernetes object")
    if not pods:
        raise NoPodError(what, kind)
    return pods


def _misplaced_label(kind: str, metadata: dict[str, Any], template: dict[str, Any], pointer: str) -> str:
    labels = _mapping(_mapping(template.get("metadata")).get("labels"))
    if not pointer or LABEL in labels or _mapping(metadata.get("labels")).get(LABEL) != "true":
        return ""
    return f"the label {LABEL} of the {kind} is not on its pods: put it into {pointer}/metadata/labels"


def find_namespaces(documents: list[dict[str, Any]]) -> list[Namespace]:
    """Give the Namespaces that documents or lists in them hold. Raises DocumentError for anything else, or for none."""
    namespaces = []
    for item in [item for document in documents for item in (_items(document) if "items" in document else [document])]:
        metadata = _mapping(_mapping(item).get("metadata"))
        name = _text(metadata.get("name"))
        if _mapping(item).get("kind") != "Namespace" or name is None:
            raise DocumentError("expected Namespaces with a name, and found something else")
        _check_strings(metadata, f"Namespace {name}")
        namespaces.append(Namespace(name, _mapping(metadata.get("labels")), _mapping(metadata.get("annotations"))))
    if not namespaces:
        raise DocumentError("there is no Namespace in it")
    return namespaces


def inject(place: PodInDocument, *, namespace: Namespace, platform: Platform) -> tuple[Decision, list[Operation]]:
    """Decide about a pod in a document; the operations' paths are those of the document.

    A runtime's template gets nothing that comes from the TrainJob's name: the webhook adds that to its pods.
    """
    if place.for_any_job:
        platform = replace(platform, lineage=Sourced(False, Source.WORKLOAD))
        if platform.experiment.value is None:
            platform = replace(platform, experiment=Sourced("", Source.WORKLOAD))
    decision = decide(place.pod, namespace=namespace, platform=platform)
    if place.for_any_job and decision.verdict is Verdict.WIRED:
        decision = replace(decision, warnings=(*decision.warnings, _LEFT_TO_THE_WEBHOOK))
    if place.warning:
        decision = replace(decision, warnings=(*decision.warnings, place.warning))
    operations = patch(place.pod, decision, at=place.at)
    if operations and _resolve(place.document, f"{place.at}/metadata") is None:  # a template may do without
        operations.insert(0, {"op": "add", "path": f"{place.at}/metadata", "value": {}})
    return decision, operations


def _unwrap(document: dict[str, Any], number: int) -> dict[str, Any]:
    if document.get("kind") != "AdmissionReview":
        return document
    request = _mapping(document.get("request"))
    review_object = request.get("object")
    if not isinstance(review_object, dict):
        raise DocumentError(f"document {number} is an AdmissionReview without an object")
    if request.get("operation", "CREATE") != "CREATE" or not _is_about_pods(request):
        asked = _mapping(request.get("resource"))
        parts = (asked.get("resource", "pods"), request.get("subResource"))
        what = f"{request.get('operation', 'CREATE')} {'/'.join(str(part) for part in parts if part)}"
        raise DocumentError(f"document {number} is the review of {what}; the webhook decides about CREATE pods only")
    # the request's namespace is the true one, the object's own may be missing
    metadata = {**_mapping(review_object.get("metadata"))}
    if request.get("namespace"):
        metadata.setdefault("namespace", request["namespace"])
    return {"apiVersion": "v1", "kind": "Pod", **review_object, "metadata": metadata}


def _is_about_pods(request: dict[str, Any]) -> bool:
    asked = _mapping(request.get("resource"))
    return (asked.get("group") or "", asked.get("resource", "pods"), request.get("subResource") or "") == (
        "",
        "pods",
        "",
    )


def _templates(here: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each template's place, and the metadata that a controller will add to its pods."""
    metadata = _mapping(here.get("metadata"))
    owner = str(metadata.get("name") or str(metadata.get("generateName", "")).rstrip("-"))
    if kind == "Pod" or (kind == "None" and "spec" in here):
        yield "", {}
    elif kind in _TEMPLATES:
        labels = {"batch.kubernetes.io/job-name": owner} if kind in {"Job", "CronJob"} else {}
        yield _TEMPLATES[kind], {"generateName": f"{owner}-", "labels": labels}
    elif kind in _JOBSETS:
        jobs = _resolve(here, _JOBSETS[kind], default=[])
        if not isinstance(jobs, list):
            raise DocumentError(f"{kind} {owner}: {_JOBSETS[kind]} is not a list")
        for index, job in enumerate(jobs):
            labels = {
                f"{_JOBSET_LABELS}jobset-name": owner,
                f"{_JOBSET_LABELS}replicatedjob-name": str(_mapping(job).get("name", "")),
            }
            place = f"{_JOBSETS[kind]}/{index}/template/spec/template"
            yield place, {"generateName": f"{owner}-", "labels": labels}


def _decode(template: Any, assumed: dict[str, Any], what: str) -> Pod:
    if not isinstance(template, dict):
        raise DocumentError(f"{what}: the pod template is missing")
    _check_strings(_mapping(template.get("metadata")), what)
    if assumed:
        metadata = _mapping(template.get("metadata"))
        labels = {**assumed["labels"], **_mapping(metadata.get("labels"))}
        template = {**template, "metadata": {**assumed, **metadata, "labels": labels}}
    try:
        return decode_pod(json.dumps(template).encode())
    except (MalformedReviewError, TypeError, ValueError, RecursionError) as error:
        # what a forgotten pair of quotation marks makes of "1" or "true"
        hint = ": write it in quotation marks" if _NOT_TEXT.search(str(error)) else ""
        raise DocumentError(f"{what}: {error}{hint}") from None


def _check_strings(metadata: dict[str, Any], what: str) -> None:
    for kind in ("labels", "annotations"):
        for name, value in _mapping(metadata.get(kind)).items():
            if isinstance(value, bool | int | float):  # what a forgotten pair of quotation marks makes of "true" or "1"
                text = json.dumps(value)
                raise DocumentError(
                    f'{what}: {kind[:-1]} {name} is {text}, not a string: write "{text}" in quotation marks'
                )


def _resolve(value: Any, pointer: str, default: Any = None) -> Any:
    for step in pointer.split("/")[1:]:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return default
    return default if value is None else value


def _items(here: dict[str, Any]) -> list[Any]:
    items = here.get("items")
    return items if isinstance(items, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
