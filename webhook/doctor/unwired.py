"""Checks whether pods of a namespace run unwired although they should be wired.

Either the webhook was unavailable when they were created (pods without their own label are then created unwired), or
the namespace was labelled later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from webhook.cluster.kube import KubeClient, KubeForbiddenError, core_path
from webhook.core.configuration import Namespace, Platform
from webhook.core.reasons import Verdict
from webhook.doctor.findings import Finding, failed, passed, skipped
from webhook.doctor.pod import create_again, decide_now, record_of

PODS = "pods-wired"
_PAGE = 250
_NAMED = 10
"""How many pods are named at most."""


def check_pods(client: KubeClient, namespace: Namespace, platform: Platform) -> Finding:
    """Check that the pods that should be wired are. Pods that have ended are left out. Raises KubeError."""
    try:
        pods = [pod for pod in _pods(client, namespace.name) if not _has_ended(pod)]
    except KubeForbiddenError:
        return skipped(PODS, f"you may not list the pods of {namespace.name}")
    others = [pod for pod in pods if (record_of(pod) or {}).get("decision") != Verdict.WIRED]
    missed = [pod for pod in others if decide_now(pod, namespace, platform).verdict is Verdict.WIRED]
    if not missed:
        return passed(PODS, f"no unwired pods found; wired pods: {len(pods) - len(others)}")
    names = [str(pod["metadata"]["name"]) for pod in missed]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return failed(
        PODS,
        "pods_not_wired",
        f"Not wired, although the webhook would wire them now: {', '.join(names[:_NAMED])}{more}. "
        "The webhook was unavailable when they were created, or the namespace was labelled later.",
        create_again(missed),
    )


def _pods(client: KubeClient, namespace: str) -> Iterator[dict[str, Any]]:
    params: dict[str, str | int] = {"limit": _PAGE}
    while True:
        page = client.list(core_path(namespace, "pods"), params=params)
        yield from page.get("items") or []
        more = (page.get("metadata") or {}).get("continue")
        if not more:
            return
        params["continue"] = more


def _has_ended(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) or (pod.get("status") or {}).get("phase") in {
        "Succeeded",
        "Failed",
    }
