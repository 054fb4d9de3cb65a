"""Runs as MLflow's REST API has them (observed with mlflow 3.17.2)."""

from __future__ import annotations

from typing import Any

from webhook.runs.run import Run, read_run

STARTED = 1_764_000_000_000
"""2025-11-24 16:00 UTC, in milliseconds."""


def document(
    id_: str = "a",
    *,
    tags: dict[str, str] | None = None,
    metrics: dict[str, float | str] | None = None,
    parent: str | None = None,
    **info: Any,
) -> dict[str, Any]:
    """Return a run that has ended after a minute; `info` overrides its fields."""
    tags = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
    return {
        "info": {
            "run_id": id_,
            "run_uuid": id_,
            "run_name": f"run-{id_}",
            "experiment_id": "1",
            "user_id": "",
            "status": "FINISHED",
            "start_time": STARTED,
            "end_time": STARTED + 60_000,
            "lifecycle_stage": "active",
            **info,
        },
        "data": {
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            "metrics": [
                {"key": key, "value": value, "timestamp": 1, "step": 3} for key, value in (metrics or {}).items()
            ],
        },
        "inputs": {},
        "outputs": {},
    }


def run(id_: str = "a", **given: Any) -> Run:
    return read_run(document(id_, **given), experiments={"1": "pipeline"})
