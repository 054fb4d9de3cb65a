"""Names of runs: the default one for the first run only."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from tests.support.plugin import SERVER, Load, prepared

DEFAULT = ("mlflow.runName", "train")
NAMED = json.dumps({"tracking_uri": SERVER, "run_name": "train"})


def changed(module: ModuleType, path: str, body: Any) -> Any:
    request = prepared(module, f"{SERVER}/api/2.0/mlflow/{path}", body=body)
    assert isinstance(request.body, bytes)
    assert request.headers["Content-Length"] == str(len(request.body))
    return json.loads(request.body)


def create(module: ModuleType, **run: Any) -> Any:
    return changed(module, "runs/create", run)


def named(*tags: tuple[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags]


def test_the_first_run_has_the_default_name_later_ones_a_number_and_nested_ones_none(load: Load) -> None:
    module = load(wiring=NAMED)
    assert create(module, tags=named(DEFAULT))["tags"] == named(DEFAULT)
    assert create(module, tags=named(("a", "b"), DEFAULT))["tags"] == named(("a", "b"), ("mlflow.runName", "train-2"))
    nested = named(("mlflow.parentRunId", "1"), DEFAULT)
    assert create(module, tags=nested)["tags"] == named(("mlflow.parentRunId", "1"))
    assert create(module, tags=named(DEFAULT))["tags"] == named(("mlflow.runName", "train-3"))


@pytest.mark.parametrize(
    "run",
    [
        {"tags": named(("mlflow.runName", "mine"))},
        {"run_name": "mine", "tags": named(DEFAULT)},
        {"run_name": "train", "tags": named(DEFAULT)},
        {"tags": named(DEFAULT, DEFAULT)},
        {"tags": named(("mlflow.parentRunId", "1"), ("mlflow.runName", "mine"))},
        {"tags": []},
        {"tags": None},
        {},
        {"tags": "strange"},
        {"tags": [5]},
        [],
        5,
    ],
)
def test_a_name_that_the_code_gives_stays(load: Load, run: Any) -> None:
    module = load(wiring=NAMED)
    create(module, tags=named(DEFAULT))
    assert changed(module, "runs/create", run) == run
    assert create(module, tags=named(DEFAULT))["tags"] == named(("mlflow.runName", "train-2"))


def test_without_a_default_name_nothing_is_numbered(load: Load) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": None}))
    runs: list[dict[str, Any]] = [{"tags": named(("mlflow.runName", "mine"))}, {"tags": []}]
    for run in runs:
        assert [create(module, **run), create(module, **run)] == [run, run]


@pytest.mark.parametrize("path", ["runs/update", "runs/create/other", "runs/createother"])
def test_only_requests_that_create_runs_are_changed(load: Load, path: str) -> None:
    module = load(wiring=NAMED)
    create(module, tags=named(DEFAULT))
    run = {"tags": named(DEFAULT)}
    assert changed(module, path, run) == run


def test_runs_on_other_servers_keep_their_names(load: Load) -> None:
    module = load(wiring=json.dumps({"tracking_uri": "http://other.example", "run_name": "train"}))
    run = {"tags": named(DEFAULT)}
    assert [create(module, **run), create(module, **run)] == [run, run]
