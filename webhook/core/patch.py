"""Writes a decision as a JSON Patch: one `add` for each variable, the client plugin's parts, and the record on the pod.

If there is nothing to add, the patch is empty. The operations are built from the decision, because to compare two
copies of a KFP pod would take a hundred times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webhook.core.client_plugin import MOUNT
from webhook.core.decision import ContainerDecision, Decision
from webhook.core.names import DECISION_ANNOTATION
from webhook.core.pod import Pod, decode_mounts, decode_volumes

Operation = dict[str, Any]
"""An operation of RFC 6902."""


def patch(pod: Pod, decision: Decision, *, at: str = "") -> list[Operation]:
    """Return the operations. `at` is the JSON Pointer of a pod template within another object."""
    operations: list[Operation] = []
    for container in decision.containers:
        operations += _env(pod, container, at)
    plugin = decision.plugin
    annotations: dict[str, str] = {}
    if plugin:
        for index in plugin.mounted:
            exists = decode_mounts(pod.containers[index]) is not None
            operations.append(_append(f"{at}/spec/containers/{index}/volumeMounts", MOUNT, exists=exists))
        if plugin.volume:
            operations.append(_append(f"{at}/spec/volumes", plugin.volume, exists=decode_volumes(pod) is not None))
        annotations.update(plugin.annotations)
    record = decision.record
    if record is not None and pod.annotations.get(DECISION_ANNOTATION) != record:
        annotations[DECISION_ANNOTATION] = record
    return operations + _annotations(pod, annotations, at)


def _env(pod: Pod, container: ContainerDecision, at: str) -> list[Operation]:
    path = f"{at}/spec/containers/{container.index}/env"
    entries = [variable.entry() for variable in container.variables]
    if not entries:
        return []
    if pod.containers[container.index].env is None:
        return [{"op": "add", "path": path, "value": entries}]
    return [{"op": "add", "path": f"{path}/{place}", "value": entry} for place, entry in enumerate(entries)]


def _append(path: str, value: Mapping[str, Any], *, exists: bool) -> Operation:
    """Return the operation that adds to the end of a list, so that the pod's own entries keep their positions."""
    return (
        {"op": "add", "path": f"{path}/-", "value": value} if exists else {"op": "add", "path": path, "value": [value]}
    )


def _annotations(pod: Pod, annotations: Mapping[str, str], at: str) -> list[Operation]:
    path = f"{at}/metadata/annotations"
    if annotations and pod.metadata.annotations is None:
        return [{"op": "add", "path": path, "value": dict(annotations)}]
    return [{"op": "add", "path": f"{path}/{_escape(name)}", "value": text} for name, text in annotations.items()]


def _escape(name: str) -> str:
    """Return a key as a part of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
