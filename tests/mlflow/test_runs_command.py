"""`runs` on a real MLflow server, with runs that wired environments made."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from demo.processes import mlflow_server
from tests.support.training import NEEDS_MLFLOW, PYTHON, create_workspace, environment, run
from webhook.cli import cli
from webhook.core.names import TRACKING_TOKEN, WORKSPACE
from webhook.runs import tracking

pytestmark = NEEDS_MLFLOW
PIPELINE_RUN = "d308ca25-ab18-46a3-a0ec-49f5d322c2d8"
COMPONENT_POD = "mlflow-training-pipeline-2tw4w-system-container-impl-3111081050"
TRAINJOB = "mlflow-finetune-2n"
SECRET = "a-token-that-nobody-may-see"
NODES = "real/trainer-2.3.0-torch-2nodes.node-{}.admissionreview.json"
EVIL = "evil\x1b[31m\u202e\r\nname"

COMPONENT = f"""
    import mlflow
    from mlflow import MlflowClient
    with mlflow.start_run() as parent:
        for step in range(5):
            mlflow.log_metric("loss", 2 / (step + 1), step=step)
            mlflow.log_metric("grad_norm", float("nan"), step=step)
        for fold in range(2):
            with mlflow.start_run(run_name=f"fold-{{fold}}", nested=True):
                mlflow.log_metric("loss", fold)
        experiment = parent.info.experiment_id
    client = MlflowClient()
    untagged = client.create_run(experiment, run_name="by-client", tags={{"mlflow.parentRunId": parent.info.run_id}})
    client.set_terminated(untagged.info.run_id)
    with mlflow.start_run(run_name={EVIL!r}):
        pass
    print("RUN", parent.info.run_id)
"""
RUNNING = """
    import os, mlflow
    run = mlflow.start_run(run_name="goes-on")
    mlflow.log_metric("loss", 7, step=1)
    print("RUN", run.info.run_id, flush=True)
    os._exit(0)
"""
FAILING = """
    import mlflow
    try:
        with mlflow.start_run() as run:
            raise RuntimeError
    except RuntimeError:
        print("RUN", run.info.run_id)
"""
WELL = "import mlflow\nwith mlflow.start_run() as run: mlflow.log_metric('loss', 1)\nprint('RUN', run.info.run_id)"


@pytest.fixture(scope="module")
def server(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder, url = tmp_path_factory.mktemp("runs"), mlflow_url
    create_workspace(url, "team-a")
    component = environment(url)
    run(COMPONENT, component, folder)
    run(RUNNING, component, folder)
    for index, code in enumerate((WELL, FAILING)):
        run(code, environment(url, sample=NODES.format(index), container="node"), folder)
    run(WELL, {**component, WORKSPACE: "default", "MLFLOW_RUN_CONTEXT": '{"kfp.pipeline_run_id": "old"}'}, folder)
    return url


def show(server: str, *arguments: str, workspace: str = "team-a") -> Result:
    given = {TRACKING_TOKEN: SECRET, WORKSPACE: workspace}
    command = ["runs", *arguments, "--no-cluster", "--url", server]
    result = CliRunner(env=given).invoke(cli, command, prog_name="kubectl mlflow")
    assert SECRET not in result.output
    assert isinstance(result.exception, SystemExit | None)
    return result


def documents(server: str, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(show(server, *arguments, "-o", "json").stdout)
    return found


def test_the_runs_of_a_pipeline_run_are_listed_with_nested_ones_under_their_parents(server: str) -> None:
    result = show(server, "run", PIPELINE_RUN, "--mlflow-url", "https://mlflow.example.com")
    assert result.exit_code == 0, result.output
    header, *rows = result.stdout.splitlines()
    assert header.split()[:4] == ["NAME", "TASK", "OR", "NODE"]
    names = [re.split(" {2,}", row.strip())[0] for row in rows]
    assert names[0] == f"train-model-{PIPELINE_RUN[:8]}"
    assert sorted(names[1:4]) == ["by-client", "fold-0", "fold-1"]
    assert all(row.startswith("  ") for row in rows[1:4])
    assert names[5] == "goes-on"
    assert not any(row.startswith(" ") for row in rows[4:])
    assert " train-model " in rows[0]
    assert " FINISHED " in rows[0]
    assert " RUNNING " in rows[5]
    assert " 0.4 " in rows[0]
    assert re.search(r"https://mlflow.example.com/#/experiments/\d+/runs/[0-9a-f]{32}\?workspace=team-a$", rows[0])


def test_control_characters_are_escaped(server: str) -> None:
    result = show(server, "run", PIPELINE_RUN)
    assert r"evil\x1b[31m\u202e\r\nname" in result.stdout
    assert not set("\x1b\u202e\r") & set(result.stdout)
    assert EVIL in [found["name"] for found in documents(server, "run", PIPELINE_RUN)]


def test_the_nodes_of_a_trainjob_have_their_own_rows_and_one_has_failed(server: str) -> None:
    found = documents(server, "trainjob", TRAINJOB)
    assert {(run_["place"], run_["status"]) for run_ in found} == {("node-0", "FINISHED"), ("node-1", "FAILED")}


def test_the_runs_of_a_deleted_pod_are_listed(server: str) -> None:
    found = documents(server, "pod", COMPONENT_POD)
    assert {run_["pipelineRun"] for run_ in found if run_["name"] != "by-client"} == {PIPELINE_RUN}
    assert {run_["pod"] for run_ in found if run_["name"] != "by-client"} == {COMPONENT_POD}


def test_a_namespace_shows_everything_in_its_workspace(server: str) -> None:
    of_run, of_job = documents(server, "run", PIPELINE_RUN), documents(server, "trainjob", TRAINJOB)
    assert {run_["id"] for run_ in documents(server, "team-a")} == {run_["id"] for run_ in of_run + of_job}


def test_values_that_json_has_no_numbers_for_and_every_value_of_a_metric(server: str) -> None:
    parent = documents(server, "run", PIPELINE_RUN, "--plot", "loss")[0]
    assert {"name": "grad_norm", "value": "NaN", "step": 4} in parent["metrics"]
    assert parent["history"] == [{"value": 2 / (step + 1), "step": step} for step in range(5)]


def test_a_curve_is_drawn_for_each_run_that_has_the_metric(server: str) -> None:
    result = show(server, "run", PIPELINE_RUN, "--plot", "loss", "--metric", "none-has-it")
    table, *curves = result.stdout.split("\n\n")
    assert [curve.splitlines()[0] for curve in curves] == [
        f"train-model-{PIPELINE_RUN[:8]}  loss",
        "fold-0  loss",
        "fold-1  loss",
        "goes-on  loss",
    ]
    assert "none-has-it" in table.splitlines()[0]
    assert "⠒" in curves[0] or "⠤" in curves[0]


def test_there_may_be_several_pages(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = documents(server, "team-a", "--plot", "loss")
    monkeypatch.setattr(tracking, "_PAGE", 2)
    monkeypatch.setattr(tracking, "_POINTS", 2)
    monkeypatch.setattr(tracking, "_EXPERIMENTS", 1)
    paged = documents(server, "team-a", "--plot", "loss")
    without_time = [{**run_, "seconds": 0} for run_ in paged]
    assert without_time == [{**run_, "seconds": 0} for run_ in whole]
    assert len(paged) > 6


def test_the_runs_of_several_pages_are_all_listed_in_their_order(server: str) -> None:
    create_workspace(server, "many")
    headers = {"X-MLFLOW-WORKSPACE": "many"}
    with httpx.Client(base_url=f"{server}/api/2.0/mlflow/", headers=headers, trust_env=False, timeout=120) as client:
        experiment = client.post("experiments/create", json={"name": "e"}).json()["experiment_id"]
        tags = [{"key": "trainjob.name", "value": "sweep"}, {"key": "mlflow.user", "value": "alice"}]

        def create(number: int) -> None:
            body = {"experiment_id": experiment, "run_name": f"r{number}", "start_time": number + 1, "tags": tags}
            client.post("runs/create", json=body).raise_for_status()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(create, range(500)))
    result = show(server, "trainjob", "sweep", workspace="many")
    assert [row.split()[0] for row in result.stdout.splitlines()[1:]] == [f"r{number}" for number in range(500)]


def test_runs_in_another_workspace_are_named_with_the_command_that_shows_them(server: str) -> None:
    result = show(server, "run", "old")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "other_workspace: 1 run is in the workspace default." in result.stderr
    command = re.findall(r"do: kubectl mlflow (runs .* --workspace default)$", result.stderr, re.MULTILINE)[0]
    again = show(server, *command.split()[1:])
    assert again.exit_code == 0


def test_runs_that_were_deleted_are_named(server: str, tmp_path: Path) -> None:
    made = run(WELL, {**environment(server), "MLFLOW_RUN_CONTEXT": '{"kfp.pipeline_run_id": "gone"}'}, tmp_path)
    assert show(server, "run", "gone").exit_code == 0
    deleted = f"{server}/api/2.0/mlflow/runs/delete"
    headers = {"X-MLFLOW-WORKSPACE": "team-a"}
    httpx.post(deleted, json={"run_id": made}, headers=headers, trust_env=False, timeout=120).raise_for_status()
    result = show(server, "run", "gone")
    assert result.exit_code == 3
    assert "deleted: 1 run is deleted in MLflow" in result.stderr


def test_without_runs_scripts_get_an_empty_array_and_people_get_a_sentence(server: str) -> None:
    result = show(server, "run", "unknown", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (3, [])
    assert "No runs of run unknown in the workspace team-a of " in result.stderr


def test_a_missing_workspace_is_reported_as_by_check(server: str) -> None:
    result = show(server, "run", PIPELINE_RUN, workspace="nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "workspace-access: " in result.stderr
    assert "workspace_unknown; see docs/checks.md#workspace-access" in result.stderr


def test_watching_ends_when_every_run_has_ended(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = {"MLFLOW_RUN_CONTEXT": '{"kfp.pipeline_run_id": "watched"}'}
    made = run(RUNNING, {**environment(server), **context}, tmp_path)
    update = f"{server}/api/2.0/mlflow/runs/update"
    headers = {"X-MLFLOW-WORKSPACE": "team-a"}
    pauses: list[float] = []

    def end(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            body = {"run_id": made, "status": "FINISHED", "end_time": 2_000_000_000_000}
            httpx.post(update, json=body, headers=headers, trust_env=False, timeout=120).raise_for_status()

    monkeypatch.setattr("webhook.cli.runs.time.sleep", end)
    result = show(server, "run", "watched", "--watch")
    assert result.exit_code == 0
    assert pauses == [5.0, 5.0]
    assert re.findall("RUNNING|FINISHED", result.stdout) == ["RUNNING", "FINISHED"]


def test_a_server_without_workspaces_has_the_runs_of_all_namespaces(tmp_path: Path) -> None:
    with mlflow_server(PYTHON, tmp_path, workspaces=False) as url:
        env = environment(url, annotations={"mlflow.kubeflow.org/workspace": ""})
        run(WELL, env, tmp_path)
        result = show(url, "run", PIPELINE_RUN, workspace="")
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        assert "FINISHED" in result.stdout
        everything = show(url, "team-a", workspace="")
        assert "workspaces are not enabled on the server" in everything.stderr
        assert everything.exit_code == 0
        wrong = show(url, "run", "unknown", workspace="team-a")
        assert wrong.exit_code == 3
        assert "workspaces_disabled: pods get the workspace team-a" in wrong.stderr
