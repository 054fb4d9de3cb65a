"""Orders runs for a table, with nested runs below their parents, and chooses its metrics. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from webhook.runs.run import Run

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_SYSTEM = "system/"
"""The beginning of the names of MLflow's own system metrics (mlflow 3.17.2: system_metrics/metrics_monitor.py)."""


class Row(NamedTuple):
    """A run, and how deep it is nested."""

    depth: int
    run: Run


def arrange(runs: Iterable[Run]) -> list[Row]:
    """Return each run once, ordered by start time, with nested runs below their parents.

    A run whose parent is not among the runs is a top-level run. So is the first of several runs that are each other's
    parents.
    """
    ordered = sorted({run.id: run for run in runs}.values(), key=lambda run: (run.started or _LONG_AGO, run.id))
    known = {run.id for run in ordered}
    children: dict[str | None, list[Run]] = {}
    for run in ordered:
        children.setdefault(run.parent if run.parent in known else None, []).append(run)
    rows: list[Row] = []
    placed: set[str] = set()
    for top in (*children.get(None, ()), *ordered):  # runs that are each other's parents are not below a top-level run
        rows += _below(top, children, placed)
    return rows


def _below(top: Run, children: dict[str | None, list[Run]], placed: set[str]) -> Iterator[Row]:
    waiting = [Row(0, top)]
    while waiting:  # not recursive: users can nest runs to any depth
        row = waiting.pop()
        if row.run.id in placed:
            continue
        placed.add(row.run.id)
        yield row
        waiting += [Row(row.depth + 1, child) for child in reversed(children.get(row.run.id, ()))]


def shared_metrics(runs: Sequence[Run], limit: int = 3) -> list[str]:
    """Return the names of the metrics that most runs have, at most `limit`; MLflow's system metrics are left out."""
    counts = Counter(name for run in runs for name in run.metrics if not name.startswith(_SYSTEM))
    return sorted(counts, key=lambda name: (-counts[name], name))[:limit]
