"""The output for a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tests.webhook.runs.runs import run
from webhook.runs.arrange import Row
from webhook.runs.run import Point
from webhook.runs.table import Links, cells, document, header

NOW = datetime(2025, 11, 24, 17, tzinfo=UTC)
LINKS = Links("https://m", "team-a")
TAGS = {"kfp.task_path": "train", "kfp.pipeline_run_id": "d308ca25", "k8s.pod.name": "p", "mlflow.user": "alice"}


def test_a_row_has_a_cell_under_each_title() -> None:
    row = Row(1, run(tags=TAGS, metrics={"loss": 1.19747387}))
    named = dict(
        zip(header(["loss", "auc"], LINKS), cells(row, ["loss", "auc"], LINKS, now=NOW), strict=True),
    )
    assert named == {
        "NAME": "  run-a",
        "TASK OR NODE": "train",
        "STATUS": "FINISHED",
        "STARTED (UTC)": "2025-11-24 16:00",
        "DURATION": "1 min",
        "USER": "alice",
        "loss": "1.197",
        "auc": "-",
        "LINK": "https://m/#/experiments/1/runs/a?workspace=team-a",
    }


def test_unknown_values_are_dashes_and_without_mlflow_url_there_is_no_column_for_links() -> None:
    row = Row(0, run(run_name="", status="", start_time=None))
    assert cells(row, [], Links("", None), now=NOW) == ["a", "-", "-", "-", "-", "-"]
    assert header([], Links("", None))[-1] == "USER"


def test_a_long_name_is_cut() -> None:
    name = cells(Row(0, run(run_name="n" * 250)), [], Links("", None), now=NOW)[0]
    assert name == "n" * 59 + "…"


def test_a_document_has_every_key_and_is_json_for_all_values() -> None:
    row = Row(0, run(tags=TAGS, metrics={"loss": "NaN", "auc": 1.7976931348623157e308, "f1": 0.5}))
    made = document(row, LINKS, now=NOW, history=[Point("loss", 2.0, 1)])
    assert json.loads(json.dumps(made, allow_nan=False)) == {
        "id": "a",
        "name": "run-a",
        "parent": None,
        "depth": 0,
        "experiment": "pipeline",
        "place": "train",
        "status": "FINISHED",
        "started": "2025-11-24T16:00:00+00:00",
        "ended": "2025-11-24T16:01:00+00:00",
        "seconds": 60.0,
        "user": "alice",
        "pod": "p",
        "pipelineRun": "d308ca25",
        "pipelineRunUrl": None,
        "link": "https://m/#/experiments/1/runs/a?workspace=team-a",
        "metrics": [
            {"name": "auc", "value": "inf", "step": 3},
            {"name": "f1", "value": 0.5, "step": 3},
            {"name": "loss", "value": "NaN", "step": 3},
        ],
        "history": [{"value": 2.0, "step": 1}],
    }
    bare = document(Row(0, run(run_name="", start_time=None)), Links("", None), now=NOW, history=[])
    assert made.keys() == bare.keys()
