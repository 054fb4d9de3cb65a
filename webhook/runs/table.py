"""The output for each run: the cells of a table, or a document with stable keys. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from webhook.runs.arrange import Row
from webhook.runs.query import run_link
from webhook.runs.run import Point, Run
from webhook.token.durations import format_duration

_NAME_WIDTH = 60
"""The most characters of a run's name in the table; MLflow allows 250."""
_INDENT = "  "
_NOTHING = "-"
STATUS = 2
"""The column of a run's status."""


class Links(NamedTuple):
    """Links to runs: the setting `mlflowUrl`, or empty, and the workspace that was searched."""

    template: str
    workspace: str | None

    def to(self, run: Run) -> str:
        """Return the URL of a run; empty if `mlflowUrl` is unknown."""
        return run_link(self.template, run, workspace=self.workspace)


def header(metrics: Sequence[str], links: Links) -> list[str]:
    """Return the titles of the columns."""
    fixed = ["NAME", "TASK OR NODE", "STATUS", "STARTED (UTC)", "DURATION", "USER"]
    return [*fixed, *metrics, *(["LINK"] if links.template else [])]


def cells(row: Row, metrics: Sequence[str], links: Links, *, now: datetime) -> list[str]:
    """Return the row of a run, by `header`."""
    run = row.run
    taken = run.duration(now)
    fixed = [
        _INDENT * row.depth + _cut(run.name or run.id),
        run.place or _NOTHING,
        run.status or _NOTHING,
        f"{run.started:%Y-%m-%d %H:%M}" if run.started else _NOTHING,
        format_duration(taken) if taken is not None else _NOTHING,
        run.user or _NOTHING,
    ]
    numbers = [f"{run.metrics[name].number:.4g}" if name in run.metrics else _NOTHING for name in metrics]
    return [*fixed, *numbers, *([links.to(run)] if links.template else [])]


def document(row: Row, links: Links, *, now: datetime, history: Sequence[Point]) -> dict[str, Any]:
    """Return a run for JSON, always with every key. `history`: the values of the plotted metric."""
    run = row.run
    taken = run.duration(now)
    return {
        "id": run.id,
        "name": run.name,
        "parent": run.parent,
        "depth": row.depth,
        "experiment": run.experiment,
        "place": run.place,
        "status": run.status,
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "seconds": round(taken.total_seconds(), 3) if taken is not None else None,
        "user": run.user,
        "pod": run.pod,
        "pipelineRun": run.pipeline_run,
        "pipelineRunUrl": run.pipeline_run_url,
        "link": links.to(run) or None,
        "metrics": [{"name": name, **_value(point)} for name, point in sorted(run.metrics.items())],
        "history": [_value(point) for point in history],
    }


def _value(point: Point) -> Mapping[str, int | float | str]:
    """Return a metric's value for JSON, which has no ``NaN``, ``inf`` and ``-inf``: these become strings."""
    number = point.number
    if math.isnan(number):
        return {"value": "NaN", "step": point.step}
    return {"value": number if math.isfinite(number) else str(number), "step": point.step}


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
