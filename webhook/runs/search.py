"""Finds the runs of a subject, or the reasons why it has no runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError, group_path
from webhook.core.controllers import KFP_RUN_ID
from webhook.doctor.pod import Subject, find_pods
from webhook.runs.arrange import Row, arrange
from webhook.runs.causes import (
    Cause,
    PodState,
    absent,
    cached_tasks,
    deleted,
    elsewhere,
    pod_causes,
    run_causes,
    user_pods,
)
from webhook.runs.query import NESTED_WITHOUT_LINEAGE, filter_of
from webhook.runs.run import Point, Run
from webhook.runs.tracking import RefusedError, Tracking

Report = Callable[[str], None]
_WORKSPACES = 50
"""The most other workspaces that are searched."""


class Found(NamedTuple):
    """The runs of a subject in the order of the table, and for each run the values of the plotted metric."""

    rows: Sequence[Row]
    histories: Mapping[str, Sequence[Point]]
    workspace: str | None


def find_runs(
    tracking: Tracking, subject: Subject | None, *, plot: str | None, report: Report = lambda _: None
) -> Found:
    """Return the runs of a subject, or without one all runs of the workspace.

    Nested runs belong to their parents' subject even if they have no tags of the wiring. `plot`: a metric to be read in
    full. `report` gets progress messages. Raises RefusedError and httpx.RequestError.
    """
    runs: dict[str, Run] = {}
    for page in tracking.pages(filter_of(subject)):
        runs |= {run.id: run for run in page}
        report(f"{len(runs):,} runs read")
    if subject and runs:
        runs |= _nested(tracking, runs)
    histories: dict[str, list[Point]] = {}
    plotted = [run.id for run in runs.values() if plot in run.metrics]
    for id_ in plotted if plot else ():
        histories[id_] = tracking.history(id_, plot or "")
        report(f"{len(runs):,} runs read, {len(histories):,} of {len(plotted):,} curves")
    return Found(arrange(runs.values()), histories, tracking.workspace)


def _nested(tracking: Tracking, found: dict[str, Run]) -> dict[str, Run]:
    """Return the runs without the wiring's tags that are nested in those found, at any depth."""
    children: dict[str, list[Run]] = {}
    try:
        for run in tracking.search(NESTED_WITHOUT_LINEAGE, within={run.experiment_id for run in found.values()}):
            children.setdefault(run.parent or "", []).append(run)
    except RefusedError as error:
        if error.answer.status != 400:  # a server whose search has no IS NULL
            raise
    nested: dict[str, Run] = {}
    parents = list(found)
    while parents:
        for run in children.pop(parents.pop(), ()):
            nested[run.id] = run
            parents.append(run.id)
    return nested


def may_change(rows: Sequence[Row], states: Sequence[PodState]) -> bool:
    """Return whether a run has not ended, or a wired pod has not started a run. A run ends with its pod."""
    ended = {state.name for state in states if not state.is_active}
    if any(not row.run.is_over and row.run.pod not in ended for row in rows):
        return True
    with_runs = {row.run.pod for row in rows}
    return any(state.is_active and state.wired and state.name not in with_runs for state in states)


def orphans(rows: Sequence[Row], states: Sequence[PodState]) -> list[Run]:
    """Return the runs that have not ended in MLflow although their pod has ended."""
    ended = {state.name for state in states if not state.is_active}
    return [row.run for row in rows if not row.run.is_over and row.run.pod in ended]


class Surroundings:
    """What a cluster knows about a subject: its pods, and the workflow of a pipeline run."""

    def __init__(self, client: KubeClient, namespace: str, subject: Subject) -> None:
        self._client, self._namespace, self._subject = client, namespace, subject

    def pods(self) -> list[dict[str, Any]] | None:
        """Return the subject's pods; None if they may not be read. Raises KubeError."""
        try:
            return find_pods(self._client, self._namespace, self._subject)
        except KubeNotFoundError:
            return []
        except KubeForbiddenError:
            return None

    def states(self) -> list[PodState]:
        """Return the state of the pods with user code, as far as they may be read. Raises KubeError."""
        return user_pods(self.pods() or [])

    def causes(self, *, uri: str) -> Iterator[Cause]:
        """Yield why there may be no runs. `uri` is the server that was searched. Raises KubeError."""
        pods = self.pods()
        if pods is None:
            yield Cause("pods_not_readable", f"you may not read the pods in the namespace {self._namespace}.")
            return
        cached = self._cached() if self._subject.kind == "run" else None
        states = user_pods(pods)
        yield from pod_causes(states, namespace=self._namespace, uri=uri)
        if self._subject.kind == "run":
            yield from run_causes(pods, states, cached=cached)
        if not pods and not cached:
            yield absent(self._subject, namespace=self._namespace)

    def _cached(self) -> list[str] | None:
        """Return the cached tasks of the pipeline run; None if its workflow may not be read, or was deleted."""
        path = group_path("argoproj.io/v1alpha1", "workflows", namespace=self._namespace)
        try:
            found = self._client.list(path, params={"labelSelector": f"{KFP_RUN_ID}={self._subject.name}"})["items"]
        except KubeError:  # Argo may not be installed
            return None
        return [task for workflow in found for task in cached_tasks(workflow)] if found else None


def server_causes(tracking: Tracking, subject: Subject, *, command: str) -> list[Cause]:
    """Return the causes that the server shows: the runs are in another workspace, or were deleted.

    `command`: the command that was called. Raises RefusedError and httpx.RequestError.
    """
    query = filter_of(subject)
    number = sum(1 for _ in tracking.search(query, deleted=True))
    causes = [deleted(number)] if number else []
    counts: dict[str, int] = {}
    others: list[str] = []
    with suppress(RefusedError):  # a server without workspaces
        others = [name for name in tracking.workspaces() if name != (tracking.workspace or "default")]
    for workspace in sorted(others, key=lambda name: name != "default")[:_WORKSPACES]:
        with suppress(RefusedError):  # the token may not read it
            number = sum(1 for _ in tracking.moved(workspace).search(query))
            if number:
                counts[workspace] = number
    return [*causes, *elsewhere(counts, command=command)]
