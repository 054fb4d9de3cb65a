"""Writes a decision as a JSON Patch: one `add` for each variable, and the record on the pod.

Nothing else is changed, and when nothing changes the patch is empty. The operations are built from the decision, since
comparing two copies of a KFP pod would cost a hundred times as much.
"""

from __future__ import annotations

from typing import Any

from webhook.core.decision import ContainerDecision, Decision
from webhook.core.names import DECISION_ANNOTATION
from webhook.core.review import Pod

_ESCAPED = DECISION_ANNOTATION.replace("~", "~0").replace("/", "~1")
"""The annotation as a part of a JSON Pointer (RFC 6901)."""

Operation = dict[str, Any]
"""An operation of RFC 6902."""


def patch(pod: Pod, decision: Decision, *, at: str = "") -> list[Operation]:
    """Return the operations. `at` is the JSON Pointer of a pod template within another object."""
    operations: list[Operation] = []
    for container in decision.containers:
        operations += _env(pod, container, at)
    record = decision.record
    if record is not None and pod.annotations.get(DECISION_ANNOTATION) != record:
        operations.append(_annotation(pod, record, at))
    return operations


def _env(pod: Pod, container: ContainerDecision, at: str) -> list[Operation]:
    path = f"{at}/spec/containers/{container.index}/env"
    entries = [variable.entry() for variable in container.variables]
    if not entries:
        return []
    if pod.containers[container.index].env is None:
        return [{"op": "add", "path": path, "value": entries}]
    return [{"op": "add", "path": f"{path}/{place}", "value": entry} for place, entry in enumerate(entries)]


def _annotation(pod: Pod, record: str, at: str) -> Operation:
    if pod.metadata.annotations is not None:
        return {"op": "add", "path": f"{at}/metadata/annotations/{_ESCAPED}", "value": record}
    return {"op": "add", "path": f"{at}/metadata/annotations", "value": {DECISION_ANNOTATION: record}}
