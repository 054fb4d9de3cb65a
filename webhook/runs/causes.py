"""The reasons for no runs that the pods, KFP's workflow and the tracking server show. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from webhook.core import names
from webhook.core.reasons import Reason, Verdict
from webhook.core.review import decode_pod
from webhook.core.workload import recognise
from webhook.doctor.pod import Subject, record_of
from webhook.doctor.waiting import why_waiting

Document = Mapping[str, Any]
_NAMED = 5
"""How many pods or tasks are named at most."""


class Cause(NamedTuple):
    """Why there are no runs. `code` is a stable name; `remedy` is what to do about it, or empty."""

    code: str
    message: str
    remedy: str = ""


class PodState(NamedTuple):
    """The state of a pod that runs user code: how it was wired, and its phase."""

    name: str
    phase: str
    wired: bool
    why: str
    waiting: str
    lineage: bool
    server: str
    """The literal tracking URI of the container with user code, or an empty text."""

    @property
    def is_active(self) -> bool:
        """Return whether its code has not ended yet."""
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
        waiting=why_waiting(status),
        lineage=names.RUN_CONTEXT in variables,
        server=env.get(names.TRACKING_URI, ""),
    )


def _sentence(reason: object) -> str:
    """Return the recorded reason as a sentence."""
    if reason is None:
        return (
            "no decision is recorded: the webhook was not called, or neither the pod nor its namespace was labelled "
            "when the pod was created"
        )
    try:
        return f"{reason}: {Reason(str(reason)).sentence.rstrip('.')}"
    except ValueError:
        return f"{reason}, which this version does not know"


def pod_causes(pods: Sequence[PodState], *, namespace: str, uri: str) -> Iterator[Cause]:
    """Yield the causes that pods with user code show. `uri` is the server that was searched."""
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
            yield Cause("other_server", f"{pod.name} uses another server: {pod.server}.")
    waiting = [pod for pod in wired if pod.phase == "Pending"]
    for pod in waiting[:_NAMED]:
        yield Cause("starting", f"{pod.name} has not started yet{f' ({pod.waiting})' if pod.waiting else ''}.")
    running = [pod.name for pod in wired if pod.is_active and pod.phase != "Pending"]
    if running:
        yield Cause("starting", f"running, without an MLflow run so far: {_some(running)}.")
    ended = [pod for pod in wired if not pod.is_active]
    plain = [pod.name for pod in ended if not pod.lineage]
    if plain:
        yield Cause(
            "lineage_off",
            f"wired without lineage, so the runs have no tags: {_some(plain)}.",
            f"mlflow-webhook runs {namespace}",
        )
    traced = [pod.name for pod in ended if pod.lineage]
    if traced:
        yield Cause(
            "no_run_started",
            f"ended without a run: {_some(traced)}. The code started no run, failed before that, or uses another "
            "server or workspace.",
            f"kubectl logs --namespace {namespace} {traced[0]}",
        )


def cached_tasks(workflow: Document) -> list[str]:
    """Return the cached tasks of a workflow of KFP.

    KFP's driver writes it to an output of its node (`cached-decision`; kubeflow/pipelines:
    backend/src/v2/compiler/argocompiler/container.go). Compressed or offloaded nodes are not read.
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
    """Yield the causes that a pipeline run shows. `cached`: its cached tasks; None if the workflow cannot be read."""
    if cached:
        yield Cause(
            "cached", f"cached: {_some(cached)}. KFP creates no pod for a cached task, so it has no MLflow run."
        )
    elif pods and not states:
        maybe = (
            "They have not started yet." if cached is not None else "They have not started yet, or they were cached."
        )
        code: Literal["starting", "cached_or_starting"] = "starting" if cached is not None else "cached_or_starting"
        yield Cause(code, f"no pod runs the code of its tasks. {maybe}")


def absent(subject: Subject, *, namespace: str) -> Cause:
    """Return the cause for a subject without pods."""
    what = {"pod": "pod", "trainjob": "TrainJob", "run": "pipeline run"}[subject.kind]
    return Cause(
        "no_pods",
        f"no pods of {what} {subject.name} found in namespace {namespace}: they were deleted, or the name or the "
        "namespace is wrong.",
    )


def elsewhere(counts: Mapping[str, int], *, command: str) -> Iterator[Cause]:
    """Yield the workspaces that have runs of the subject. `command`: the command that was called."""
    for workspace, number in counts.items():
        yield Cause(
            "other_workspace",
            f"{_runs(number)} in the workspace {workspace}. MLflow older than 3.10 ignores MLFLOW_WORKSPACE, and code "
            "can set another workspace.",
            f"{command} --workspace {workspace}",
        )


def workspaces_disabled(workspace: str) -> Cause:
    """Return the cause for a server without workspaces, if pods get a workspace."""
    return Cause(
        "workspaces_disabled",
        f"pods get the workspace {workspace}, but workspaces are not enabled on the server, so MLflow fails.",
        "Start the server with --enable-workspaces, or set `workspaces: false` in the webhook's configuration.",
    )


def deleted(number: int) -> Cause:
    """Return the cause for runs that were deleted in MLflow."""
    return Cause("deleted", f"{_runs(number)} deleted in MLflow. Deleted runs can be restored there.")


def _runs(number: int) -> str:
    return "1 run is" if number == 1 else f"{number} runs are"


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
