"""A compiled pipeline is recognised, and its tasks are explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pods import FOLDER
from tests.webhook.cli.calling import LABELLED, call, on

PIPELINES = Path(__file__).parents[2] / "data" / "pipelines"
SMALL: dict[str, Any] = {
    "components": {"comp-train": {"executorLabel": "exec-train"}},
    "deploymentSpec": {"executors": {"exec-train": {"container": {"image": "python:3.11"}}}},
    "pipelineInfo": {"name": "my-pipe"},
    "root": {"dag": {"tasks": {"train": {"componentRef": {"name": "comp-train"}}}}},
    "schemaVersion": "2.1.0",
}


def explained(file: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    result = call("explain", "-f", str(file), *LABELLED, *arguments, "-o", "json")
    return {one["pod"].removesuffix(" of the compiled pipeline my-pipe"): one for one in json.loads(result.stdout)}


def variables(found: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable for variable in found["containers"][0]["variables"]}


@pytest.mark.parametrize("name", ["nested.yaml", "pipeline-version.yaml"])
def test_each_task_is_explained_as_its_pod(name: str) -> None:
    found = explained(PIPELINES / name)
    assert {task: one["reason"] for task, one in found.items()} == {
        "task train": "opted_out",  # by the label in the document for the platform
        "task inner/train": "wired_by_namespace_label",
        "task for-loop-2/train-2": "wired_by_namespace_label",
        "task condition-3/importer": "kfp_importer",
    }
    context = json.loads(variables(found["task inner/train"])["MLFLOW_RUN_CONTEXT"]["value"])
    assert (context["kfp.pipeline_name"], context["kfp.task_path"]) == ("my-pipe", "inner/train")
    assert found["task inner/train"]["notes"] == [
        "not known before the pipeline runs: the id of the run, and the iteration of a task in a loop"
    ]


def test_labels_and_variables_of_a_task_affect_the_decision() -> None:
    (found,) = json.loads(
        call("explain", "-f", str(PIPELINES / "as-written.yaml"), *LABELLED, "-o", "json").stdout
    )  # its author gave it the Secret and the address
    shown = variables(found)
    assert shown["MLFLOW_TRACKING_TOKEN"]["source"] == "already in the pod"
    assert shown["MLFLOW_TRACKING_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "mlflow-token", "key": "token"}}


def test_the_tasks_are_wired_as_the_captured_pods_are() -> None:
    (found,) = json.loads(call("explain", "-f", str(PIPELINES / "unmodified.yaml"), *LABELLED, "-o", "json").stdout)
    capture = FOLDER / "real/kfp-2.17.0-unmodified.container-impl.admissionreview.json"
    (real,) = json.loads(call("explain", "-f", str(capture), *LABELLED, "-o", "json").stdout)
    ours, theirs = variables(found), variables(real)
    contexts = [json.loads(one.pop("MLFLOW_RUN_CONTEXT")["value"]) for one in (ours, theirs)]
    for one in (ours, theirs):
        del one["MLFLOW_WORKSPACE"]
    assert ours == theirs
    assert contexts[1].keys() - contexts[0].keys() == {"kfp.pipeline_run_id"}
    assert all(contexts[1][tag].startswith(value) for tag, value in contexts[0].items())


def test_inject_prints_it_unchanged_and_says_who_wires_its_pods() -> None:
    text = f"# PIPELINE DEFINITION\n{yaml.safe_dump(SMALL)}---\nplatforms: {{kubernetes: {{}}}}\n"
    result = call("inject", "-f", "-", text=text)
    assert (result.exit_code, result.stdout) == (0, text)
    assert result.stderr == (
        "compiled pipeline my-pipe: Kubeflow Pipelines creates a pod for each task when the pipeline runs, and the "
        "webhook wires these pods; not changed\n"
    )


def test_malformed_parts_are_skipped_or_named() -> None:
    assert "my-pipe" in on("explain", SMALL).stdout
    malformed: tuple[dict[str, Any], ...] = (
        {"components": 3},
        {"deploymentSpec": []},
        {"root": {"dag": {"tasks": [1]}}},
        {"root": {"dag": {"tasks": {"train": None}}}},
        {"components": {"comp-train": {"dag": {"tasks": {"train": {"componentRef": {"name": "comp-train"}}}}}}},
    )
    for broken in malformed:
        result = on("explain", {**SMALL, **broken})
        assert result.exit_code in {1, 3}
        assert "Traceback" not in result.output
    env = {"exec-train": {"container": {"env": [{"name": 3}]}}}
    result = on("explain", {**SMALL, "deploymentSpec": {"executors": env}})
    assert "task train of the compiled pipeline my-pipe: the pod has a wrong type" in result.stderr


def test_a_version_of_a_pipeline_is_in_its_namespace_and_the_pipeline_says_where_the_pods_come_from() -> None:
    version = (PIPELINES / "pipeline-version.yaml").read_text()
    pipeline = "apiVersion: pipelines.kubeflow.org/v2beta1\nkind: Pipeline\nmetadata: {name: p, namespace: kubeflow}\n"
    result = call("explain", "-f", "-", *LABELLED, "-o", "json", text=f"{pipeline}---\n{version}")
    assert {found["namespace"] for found in json.loads(result.stdout)} == {"kubeflow"}
    assert "Pipeline p: its pods come from its versions: pass a PipelineVersion; not changed" in result.stderr
    elsewhere = call("explain", "-f", "-", *LABELLED, "-n", "team", "-o", "json", text=version)
    assert {found["namespace"] for found in json.loads(elsewhere.stdout)} == {"team"}
