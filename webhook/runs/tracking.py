"""Searches a tracking server over MLflow's REST API, page by page, with the token and the workspace of a wired pod.

The API's answers were observed with mlflow 3.17.2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import httpx
import msgspec

from webhook.doctor.probe import LIST, SEARCH, Answer, Prober, Target
from webhook.doctor.server_info import read_info
from webhook.runs.run import Point, Run, read_run

RUNS, HISTORY = "/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/metrics/get-history"
_EXPERIMENTS = 1000
"""Experiments per page, and per search for runs, which needs a list of experiments."""
_PAGE = 200
"""Runs per page. Each contains all its parameters, tags and last metrics."""
_POINTS = 10_000
_LARGEST = 64 << 20
"""Bytes of one page."""

T = TypeVar("T")


class RefusedError(Exception):
    """The server's answer is not the expected one."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.summary())
        self.answer = answer


class _Experiment(msgspec.Struct):
    experiment_id: str
    name: str = ""


class _Experiments(msgspec.Struct):
    experiments: list[_Experiment] = []
    next_page_token: str = ""


class _Runs(msgspec.Struct):
    runs: list[Any] = []
    next_page_token: str = ""


class _Points(msgspec.Struct):
    metrics: list[Point] = []
    next_page_token: str = ""


class _Workspace(msgspec.Struct):
    name: str


class _Workspaces(msgspec.Struct):
    workspaces: list[_Workspace] = []


class Tracking:
    """A tracking server. `client` has the timeouts. Every method raises RefusedError and httpx.RequestError."""

    def __init__(self, client: httpx.Client, target: Target) -> None:
        self._client, self._target = client, target
        self.workspace = target.workspace
        self._prober = Prober(client, target, most=_LARGEST)

    def moved(self, workspace: str | None) -> Tracking:
        """Return the same server with another workspace, or with none."""
        return Tracking(self._client, replace(self._target, workspace=workspace))

    def with_token(self, token: str | None) -> Tracking:
        """Return the same server with another token."""
        return Tracking(self._client, replace(self._target, token=token))

    def has_workspaces(self) -> bool:
        """Return whether the server separates runs by workspace."""
        answer = read_info(self._prober)
        if isinstance(answer, Answer):
            raise RefusedError(answer)
        return answer.workspaces

    def workspaces(self) -> list[str]:
        """Return the workspaces that the token may see."""
        found, _ = self._read("GET", LIST, _Workspaces)
        return sorted(workspace.name for workspace in found.workspaces)

    def search(self, query: str, *, within: Collection[str] | None = None, deleted: bool = False) -> Iterator[Run]:
        """Yield the runs that a filter finds, as `pages` does."""
        for page in self.pages(query, within=within, deleted=deleted):
            yield from page

    def pages(
        self, query: str, *, within: Collection[str] | None = None, deleted: bool = False
    ) -> Iterator[Sequence[Run]]:
        """Yield the runs that a filter finds, page by page.

        `within`: the ids of the experiments to search, if not all. `deleted`: the runs in the trash instead.
        """
        for found in self._experiments():
            experiments = {id_: name for id_, name in found.items() if within is None or id_ in within}
            if not experiments:
                continue
            body = {
                "experiment_ids": list(experiments),
                "filter": query,
                "run_view_type": "DELETED_ONLY" if deleted else "ACTIVE_ONLY",
                "max_results": _PAGE,
                "order_by": ["attributes.start_time ASC"],
            }
            while True:
                page, answer = self._read("POST", RUNS, _Runs, json=body)
                try:
                    runs = [read_run(document, experiments=experiments) for document in page.runs]
                except msgspec.ValidationError as error:
                    raise RefusedError(answer) from error
                yield runs
                if not page.next_page_token or not runs:
                    break
                body["page_token"] = page.next_page_token

    def history(self, run: str, metric: str) -> list[Point]:
        """Return the values of a metric of a run, in the server's order."""
        points: list[Point] = []
        params: dict[str, str | int] = {"run_id": run, "metric_key": metric, "max_results": _POINTS}
        while True:
            page, _ = self._read("GET", HISTORY, _Points, params=params)
            points += page.metrics
            if not page.next_page_token or not page.metrics:
                return points
            params["page_token"] = page.next_page_token

    def _experiments(self) -> Iterator[dict[str, str]]:
        """Yield the experiments page by page: their names by id."""
        body: dict[str, str | int] = {"max_results": _EXPERIMENTS}
        while True:
            page, _ = self._read("POST", SEARCH, _Experiments, json=body)
            if page.experiments:
                yield {experiment.experiment_id: experiment.name for experiment in page.experiments}
            if not page.next_page_token or not page.experiments:
                return
            body["page_token"] = page.next_page_token

    def _read(self, method: str, path: str, kind: type[T], **content: Any) -> tuple[T, Answer]:
        answer = self._prober.send(method, path, workspace=path != LIST, **content)
        if answer.status != 200 or not isinstance(answer.json, dict):
            raise RefusedError(answer)
        try:
            return msgspec.convert(answer.json, kind, strict=False), answer
        except msgspec.ValidationError as error:
            raise RefusedError(answer) from error
