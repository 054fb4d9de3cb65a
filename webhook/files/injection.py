"""Decides about pods in documents, and writes the decision as a patch of the document."""

from __future__ import annotations

from msgspec.structs import replace

from webhook.core.configuration import Namespace, Platform, Source, Sourced
from webhook.core.decision import Decision, decide
from webhook.core.patch import Operation, patch
from webhook.files.found import PodInDocument
from webhook.files.pointers import resolve


def inject(place: PodInDocument, *, namespace: Namespace, platform: Platform) -> tuple[Decision, list[Operation]]:
    """Decide about a pod in a document; the operations' paths are those of the document.

    A runtime's template gets nothing that comes from the TrainJob's name, and one in no namespace no workspace: the
    webhook adds that to the pods.
    """
    decision = decide(place.pod, namespace=namespace, platform=_for(place, platform))
    if place.warnings:
        decision = replace(decision, warnings=(*decision.warnings, *place.warnings))
    if place.at is None:
        return decision, []
    operations = patch(place.pod, decision, at=place.at)
    for operation in operations:
        of_metadata = operation["path"].removeprefix(f"{place.at}/metadata")
        if of_metadata != operation["path"]:
            operation["path"] = place.metadata_at + of_metadata
    if operations and resolve(place.document, place.metadata_at) is None:  # a template may do without
        operations.insert(0, {"op": "add", "path": place.metadata_at, "value": {}})
    return decision, operations


def _for(place: PodInDocument, platform: Platform) -> Platform:
    if not place.in_namespace:
        platform = replace(platform, workspaces=Sourced(False, Source.WORKLOAD))
    if place.for_any_job:
        platform = replace(platform, lineage=Sourced(False, Source.WORKLOAD))
        if platform.experiment.value is None:
            platform = replace(platform, experiment=Sourced("", Source.WORKLOAD))
    return platform
