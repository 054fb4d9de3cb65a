"""Why there are no runs, as far as pods, KFP's workflow and the tracking server tell. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from webhook.core import names
from webhook.core.reasons import Reason, Verdict
from webhook.core.review import decode_pod
from webhook.core.workload import recognise
from webhook.doctor.pod import Subject, record_of

Document = Mapping[str, Any]
_NAMED = 5
"""How many pods or tasks are named at most."""


class Cause(NamedTuple):
    """Why there are no runs. `code` is a stable name; `remedy` is what to do about it, or empty."""

    code: str
    message: str
    remedy: str = ""


class PodState(NamedTuple):
    """What a pod with user code tells: how it was wired, and how far it has come."""

    name: str
    phase: str
    wired: bool
    why: str
    waiting: str
    lineage: bool
    server: str
    """The tracking URI that stands in its user's container; empty where there is none, or it comes from elsewhere."""

    @property
    def is_active(self) -> bool:
        """Return whether its code has yet to run, or is running."""
        return self.phase not in {"Succeeded", "Failed"}


def user_pods(pods: Sequence[Document]) -> list[PodState]:
    """Return the state of the pods that run user code; KFP's drivers and the like are left out."""
    found = []
    for pod in pods:
        seen = decode_pod(json.dumps(pod).encode())
        recogniser = recognise(seen)
        if recogniser.never is None:
            found.append(_state(pod, recogniser.container))
    return found


def _state(pod: Document, container: str | None) -> PodState:
    record = record_of(dict(pod)) or {}
    given = record.get("containers")
    variables = {name for listed in given.values() for name in listed} if isinstance(given, dict) else set()
    env = {
        entry["name"]: entry.get("value") or ""
        for found in pod["spec"]["containers"]
        if container in {None, found["name"]}
        for entry in found.get("env") or []
    }
    status = pod.get("status") or {}
    return PodState(
        name=pod["metadata"]["name"],
        phase=status.get("phase") or "Pending",
        wired=record.get("decision") == Verdict.WIRED,
        why=_sentence(record.get("reason")),
        waiting=_waiting(status),
        lineage=names.RUN_CONTEXT in variables,
        server=env.get(names.TRACKING_URI, ""),
    )


def _sentence(reason: object) -> str:
    """Return what is recorded on a pod as a sentence."""
    if reason is None:
        return (
            "nothing is recorded on it: the webhook was not called for it, or neither it nor its namespace asked for "
            "wiring when it was created"
        )
    try:
        return f"{reason}: {Reason(str(reason)).sentence.rstrip('.')}"
    except ValueError:
        return f"{reason}, a reason that this version does not know"


def _waiting(status: Document) -> str:
    """Return why a pod is waiting, in Kubernetes' words; empty when it does not say."""
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    states = [(container.get("state") or {}).get("waiting") or {} for container in containers]
    conditions = [condition for condition in status.get("conditions") or [] if condition.get("type") == "PodScheduled"]
    found = next((state for state in states if state.get("reason") not in {None, "PodInitializing"}), None)
    found = found or next((condition for condition in conditions if condition.get("status") == "False"), {})
    return ": ".join(str(found[key]) for key in ("reason", "message") if found.get(key))


def pod_causes(pods: Sequence[PodState], *, namespace: str, uri: str) -> Iterator[Cause]:
    """Yield what pods with user code tell. `uri` is the server that was searched."""
    unwired: dict[str, list[str]] = {}
    for pod in pods:
        if not pod.wired:
            unwired.setdefault(pod.why, []).append(pod.name)
    for why, found in unwired.items():
        yield Cause(
            "not_wired",
            f"not wired: {_some(found)} ({why}).",
            f"mlflow-webhook check pod {found[0]} --namespace {namespace}",
        )
    wired = [pod for pod in pods if pod.wired]
    for pod in wired:
        if pod.server and pod.server.rstrip("/") != uri.rstrip("/"):
            yield Cause("other_server", f"{pod.name} was wired to another server: {pod.server}.")
    waiting = [pod for pod in wired if pod.phase == "Pending"]
    for pod in waiting[:_NAMED]:
        yield Cause("starting", f"{pod.name} has not started yet{f' ({pod.waiting})' if pod.waiting else ''}.")
    running = [pod.name for pod in wired if pod.is_active and pod.phase != "Pending"]
    if running:
        yield Cause("starting", f"still running, without a run so far: {_some(running)}.")
    ended = [pod for pod in wired if not pod.is_active]
    plain = [pod.name for pod in ended if not pod.lineage]
    if plain:
        yield Cause(
            "lineage_off",
            f"wired without lineage, so that its runs have no tags to find them by: {_some(plain)}.",
            f"mlflow-webhook runs {namespace}",
        )
    traced = [pod.name for pod in ended if pod.lineage]
    if traced:
        yield Cause(
            "no_run_started",
            f"ended without a run: {_some(traced)}. The code started none, failed before it did, or names another "
            "server or workspace itself.",
            f"kubectl logs --namespace {namespace} {traced[0]}",
        )


def cached_tasks(workflow: Document) -> list[str]:
    """Return the tasks of a workflow of KFP's that were cached.

    KFP's driver says so in an output of its node (`cached-decision`; kubeflow/pipelines:
    backend/src/v2/compiler/argocompiler/container.go). A workflow whose nodes are compressed or offloaded
    tells nothing.
    """
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    return sorted(
        str(node.get("displayName") or node.get("name") or "").removesuffix("-driver")
        for node in nodes.values()
        if any(
            parameter.get("name") == "cached-decision" and parameter.get("value") == "true"
            for parameter in (node.get("outputs") or {}).get("parameters") or []
        )
    )


def run_causes(
    pods: Sequence[Document], states: Sequence[PodState], *, cached: Sequence[str] | None
) -> Iterator[Cause]:
    """Yield what a pipeline run tells beside its pods with user code. `cached` None: its workflow was not readable."""
    if cached:
        yield Cause("cached", f"cached: {_some(cached)}. A cached task creates no pod with user code, so no run.")
    elif pods and not states:
        maybe = "They have not started yet." if cached is not None else "They have not started yet, or were cached."
        code: Literal["starting", "cached_or_starting"] = "starting" if cached is not None else "cached_or_starting"
        yield Cause(code, f"no pod runs user code of its tasks. {maybe}")


def absent(subject: Subject, *, namespace: str) -> Cause:
    """Return the cause for a subject without pods."""
    what = {"pod": "pod", "trainjob": "TrainJob", "run": "pipeline run"}[subject.kind]
    return Cause(
        "no_pods",
        f"no pods of the {what} {subject.name} in the namespace {namespace}: they were deleted, or the name or the "
        "namespace is another one.",
    )


def elsewhere(counts: Mapping[str, int], *, command: str) -> Iterator[Cause]:
    """Yield the workspaces that have runs of the subject. `command` is what was called."""
    for workspace, number in counts.items():
        yield Cause(
            "other_workspace",
            f"{_runs(number)} in the workspace {workspace}. MLflow older than 3.10 in the image ignores the workspace "
            "it is given, and code can set another one.",
            f"{command} --workspace {workspace}",
        )


def workspaces_disabled(workspace: str) -> Cause:
    """Return the cause for a server that does not know the workspace which pods are given."""
    return Cause(
        "workspaces_disabled",
        f"pods are given the workspace {workspace}, and this MLflow runs without workspaces: its clients fail then.",
        "Start the server with --enable-workspaces, or set `workspaces: false` in the webhook's configuration.",
    )


def deleted(number: int) -> Cause:
    """Return the cause for runs that are in MLflow's trash."""
    return Cause("deleted", f"{_runs(number)} deleted in MLflow; they can be restored there.")


def _runs(number: int) -> str:
    return "1 run is" if number == 1 else f"{number} runs are"


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
