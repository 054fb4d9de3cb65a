"""Decides about pods in documents, and writes the decision as a patch of the document."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from webhook.core.configuration import Namespace, Platform, Source, Sourced
from webhook.core.decision import Decision, decide
from webhook.core.names import ANNOTATION_GROUP
from webhook.core.patch import Operation, patch
from webhook.files.found import PodInDocument
from webhook.files.generated import Values
from webhook.files.pointers import resolve

_LINEAGE = f"{ANNOTATION_GROUP}/lineage"
_EVERYTHING = Values(experiment=True, lineage=True)


def explain(place: PodInDocument, *, namespace: Namespace, platform: Platform) -> Decision:
    """Decide about a pod in a document; generated names contain a placeholder.

    A runtime's template gets nothing that comes from the TrainJob's name. A template without a namespace gets no
    workspace. The webhook adds both to the pods.
    """
    without = _EVERYTHING if place.for_any_job else Values()
    return _decide(place, namespace, platform, without=without)


def inject(place: PodInDocument, *, namespace: Namespace, platform: Platform) -> tuple[Decision, list[Operation]]:
    """Decide about a pod in a document; the operations' paths are those of the document.

    What `explain` leaves out, and what contains a generated name, is left to the webhook.
    """
    without = _EVERYTHING if place.for_any_job else place.generated
    decision = _decide(place, namespace, platform, without=without)
    if place.at is None:
        return decision, []
    operations = patch(place.pod, decision, at=place.at)
    for operation in operations:
        of_metadata = operation["path"].removeprefix(f"{place.at}/metadata")
        if of_metadata != operation["path"]:
            operation["path"] = place.metadata_at + of_metadata
    if operations and resolve(place.document, place.metadata_at) is None:  # a template may have no metadata
        operations.insert(0, {"op": "add", "path": place.metadata_at, "value": {}})
    return decision, operations


def _decide(place: PodInDocument, namespace: Namespace, platform: Platform, *, without: Values) -> Decision:
    pod = place.pod
    if not place.in_namespace:
        platform = replace(platform, workspaces=Sourced(False, Source.WORKLOAD))
    if without.experiment and platform.experiment.value is None:
        platform = replace(platform, experiment=Sourced("", Source.WORKLOAD))
    if without.lineage:
        platform = replace(platform, lineage=Sourced(False, Source.WORKLOAD))
        namespace = replace(namespace, annotations=_no_lineage(namespace.annotations))
        pod = replace(pod, metadata=replace(pod.metadata, annotations=_no_lineage(pod.annotations)))
    decision = decide(pod, namespace=namespace, platform=platform)
    return replace(decision, warnings=(*decision.warnings, *place.warnings)) if place.warnings else decision


def _no_lineage(annotations: Mapping[str, str]) -> dict[str, str]:
    return {**annotations, _LINEAGE: "false"} if annotations.get(_LINEAGE) == "true" else {**annotations}
