"""A run from the tracking server's REST API, with the fields that are shown. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from webhook.core.lineage import PIPELINE_RUN_ID, PIPELINE_RUN_URL

POD = "k8s.pod.name"
TRAINJOB = "trainjob.name"
PARENT = "mlflow.parentRunId"
"""mlflow 3.17.2: utils/mlflow_tags.py, MLFLOW_PARENT_RUN_ID"""
_USER = "mlflow.user"
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
"""mlflow 3.17.2: entities/run_status.py; the others are RUNNING and SCHEDULED."""
_LARGEST = 1.7976931348623157e308
"""The server's replacement for an infinite value (observed with mlflow 3.17.2)."""


class _Info(msgspec.Struct):
    run_id: str
    experiment_id: str
    run_name: str = ""
    user_id: str = ""
    status: str = ""
    start_time: int | None = None
    end_time: int | None = None


class _Tag(msgspec.Struct):
    key: str
    value: str = ""


class Point(msgspec.Struct, frozen=True):
    """One value of a metric. The API has words (``NaN``) for values that are not in JSON."""

    key: str
    value: float | str = 0.0
    step: int = 0
    timestamp: int = 0

    @property
    def number(self) -> float:
        """Return the value; an infinite one is infinite again."""
        try:
            number = float(self.value)
        except ValueError:
            return math.nan
        return math.copysign(math.inf, number) if abs(number) == _LARGEST else number


class _Data(msgspec.Struct):
    metrics: list[Point] = []
    tags: list[_Tag] = []


class _Document(msgspec.Struct):
    info: _Info
    data: _Data = msgspec.field(default_factory=_Data)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `experiment`: its name. `metrics`: the last value of each."""

    id: str
    name: str
    experiment_id: str
    experiment: str
    status: str
    started: datetime | None
    ended: datetime | None
    user: str
    tags: Mapping[str, str]
    metrics: Mapping[str, Point]

    @property
    def parent(self) -> str | None:
        """Return the id of the run that it is nested in, or None."""
        return self.tags.get(PARENT) or None

    @property
    def is_over(self) -> bool:
        """Return whether the run has ended, successfully or not."""
        return self.status in _ENDED

    @property
    def pod(self) -> str | None:
        """Return the pod that created it, or None."""
        return self.tags.get(POD) or None

    @property
    def pipeline_run(self) -> str | None:
        """Return the pipeline run's id, or None."""
        return self.tags.get(PIPELINE_RUN_ID) or None

    @property
    def pipeline_run_url(self) -> str | None:
        """Return the page of the pipeline run, or None."""
        return self.tags.get(PIPELINE_RUN_URL) or None

    @property
    def place(self) -> str | None:
        """Return the task or the node that created it, else the pod; None if its tags do not say."""
        tags = self.tags
        if task := tags.get("kfp.task_path") or tags.get("kfp.task_name"):
            iteration = tags.get("kfp.loop_iteration")
            return f"{task}[{iteration}]" if iteration else task
        if TRAINJOB in tags and (job := tags.get("trainjob.replicated_job")):
            index = tags.get("trainjob.node_index")
            return f"{job}-{index}" if index else job
        return self.pod

    def duration(self, now: datetime) -> timedelta | None:
        """Return its duration, for an unfinished run until now; None if that is not known."""
        end = self.ended if self.is_over else now
        return max(end - self.started, timedelta()) if self.started and end else None


def read_run(document: Any, *, experiments: Mapping[str, str]) -> Run:
    """Read a run of the API. `experiments` has the names by id. Raises msgspec.ValidationError."""
    found = msgspec.convert(document, _Document, strict=False)
    tags = {tag.key: tag.value for tag in found.data.tags}
    info = found.info
    return Run(
        id=info.run_id,
        name=info.run_name or tags.get("mlflow.runName", ""),
        experiment_id=info.experiment_id,
        experiment=experiments.get(info.experiment_id, ""),
        status=info.status,
        started=_moment(info.start_time),
        ended=_moment(info.end_time),
        user=tags.get(_USER) or info.user_id,
        tags=tags,
        metrics={point.key: point for point in found.data.metrics},
    )


def _moment(milliseconds: int | None) -> datetime | None:
    if not milliseconds:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):  # written by a client: the server accepts any number
        return None
