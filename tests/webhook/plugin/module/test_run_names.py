"""Names of runs: the default one for the first run only."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from tests.support.plugin import SERVER, Load, prepared


def create(module: ModuleType, **run: Any) -> dict[str, Any]:
    request = prepared(f"{SERVER}/api/2.0/mlflow/runs/create", body=run)
    body: dict[str, Any] = json.loads(module.AuthProvider().get_auth()(request).body)
    return body


def named(*tags: tuple[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags]


def test_the_first_run_has_the_default_name_later_ones_a_number_and_nested_ones_none(load: Load) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}))
    default = ("mlflow.runName", "train")
    assert create(module, tags=named(default))["tags"] == named(default)
    assert create(module, tags=named(("a", "b"), default))["tags"] == named(("a", "b"), ("mlflow.runName", "train-2"))
    nested = named(("mlflow.parentRunId", "1"), default)
    assert create(module, tags=nested)["tags"] == named(("mlflow.parentRunId", "1"))
    assert create(module, tags=named(default))["tags"] == named(("mlflow.runName", "train-3"))


@pytest.mark.parametrize(
    "run",
    [
        {"tags": named(("mlflow.runName", "mine"))},
        {"run_name": "mine", "tags": named(("mlflow.runName", "train"))},
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
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}))
    request = prepared(f"{SERVER}/api/2.0/mlflow/runs/create", body=run)
    assert json.loads(module.AuthProvider().get_auth()(request).body) == run
