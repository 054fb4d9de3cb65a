"""Why a pod has not started, from its status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def why_waiting(status: Mapping[str, Any]) -> str:
    """Return why a pod is waiting, as its status shows it; empty if unknown."""
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    states = [(container.get("state") or {}).get("waiting") or {} for container in containers]
    conditions = [condition for condition in status.get("conditions") or [] if condition.get("type") == "PodScheduled"]
    found = next((state for state in states if state.get("reason") not in {None, "PodInitializing"}), None)
    found = found or next((condition for condition in conditions if condition.get("status") == "False"), {})
    return ": ".join(str(found[key]) for key in ("reason", "message") if found.get(key))
