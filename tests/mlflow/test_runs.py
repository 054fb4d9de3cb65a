"""Wired environments with a real MLflow server with workspaces: where the runs are, and with which tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.processes import run_container
from tests.support.pods import pod
from tests.support.training import NEEDS_MLFLOW, PYTHON, create_workspace, environment, run

NAMED_SERVER = "http://mlflow-tracking-server.kubeflow:5000"
AS_WRITTEN = "real/kfp-2.17.0-as-written.container-impl.admissionreview.json"
WORKSPACE = "runs"
pytestmark = NEEDS_MLFLOW


@pytest.fixture(scope="module")
def server(mlflow_url: str) -> str:
    create_workspace(mlflow_url, WORKSPACE)
    return mlflow_url


def found(server: str, run_id: str) -> dict[str, Any]:
    """Return a run of these tests' workspace; another workspace's would not be found."""
    headers = {"X-MLFLOW-WORKSPACE": WORKSPACE}
    with httpx.Client(base_url=f"{server}/api/2.0/mlflow/", headers=headers, trust_env=False, timeout=120) as client:
        data = client.get("runs/get", params={"run_id": run_id}).raise_for_status().json()["run"]
        experiment = client.get("experiments/get", params={"experiment_id": data["info"]["experiment_id"]}).json()
    tags = {tag["key"]: tag["value"] for tag in data["data"]["tags"]}
    return {"experiment": experiment["experiment"]["name"], "name": data["info"]["run_name"], "tags": tags}


def in_namespace(server: str, **how: Any) -> dict[str, str]:
    return environment(server, namespace=WORKSPACE, **how)


RUN_ID = "d308ca25-ab18-46a3-a0ec-49f5d322c2d8"


@pytest.mark.parametrize(
    ("code", "experiment", "name"),
    [
        (
            "import mlflow\nwith mlflow.start_run() as r: print('RUN', r.info.run_id)",
            "mlflow-training-pipeline",
            f"train-model-{RUN_ID[:8]}",
        ),
        (
            "import mlflow\nmlflow.set_experiment('own')\nwith mlflow.start_run() as r: print('RUN', r.info.run_id)",
            "own",
            f"train-model-{RUN_ID[:8]}",
        ),
        (
            "import mlflow\nwith mlflow.start_run(run_name='mine') as r: print('RUN', r.info.run_id)",
            "mlflow-training-pipeline",
            "mine",
        ),
        (
            "import subprocess, sys\n"
            "code = 'import mlflow\\nwith mlflow.start_run() as r: print(\"RUN\", r.info.run_id)'\n"
            "print(subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout)",
            "mlflow-training-pipeline",
            f"train-model-{RUN_ID[:8]}",
        ),
        (
            # the calls of transformers' MLflowCallback: set_experiment by the variable, then start_run
            "import mlflow, os\nmlflow.set_tracking_uri(os.environ['MLFLOW_TRACKING_URI'])\n"
            "mlflow.set_experiment(os.environ['MLFLOW_EXPERIMENT_NAME'])\n"
            "with mlflow.start_run(run_name=None, nested=False) as r: print('RUN', r.info.run_id)",
            "mlflow-training-pipeline",
            f"train-model-{RUN_ID[:8]}",
        ),
    ],
    ids=["fluent", "own-experiment", "own-run-name", "child-process", "hugging-face"],
)
def test_a_run_is_in_the_workspace_with_its_lineage(
    server: str, tmp_path: Path, code: str, experiment: str, name: str
) -> None:
    run_found = found(server, run(code, in_namespace(server), tmp_path))
    assert (run_found["experiment"], run_found["name"]) == (experiment, name)
    assert run_found["tags"]["kfp.pipeline_run_id"] == RUN_ID
    assert run_found["tags"]["k8s.pod.name"] == "mlflow-training-pipeline-2tw4w-system-container-impl-3111081050"


def run_component(sample: str, env: dict[str, str], folder: Path, *, server: str, inputs: dict[str, Any]) -> None:
    """Run the component's source from a captured pod with KFP's executor, with another tracking server in it."""
    folder.mkdir()
    outputs = {"parameters": {"Output": {"outputFile": str(folder / "out")}}, "outputFile": str(folder / "metadata")}
    given = json.dumps({"inputs": {"parameterValues": inputs}, "outputs": outputs})
    main = next(container for container in pod(sample)["spec"]["containers"] if container["name"] == "main")
    # `sh -c "pip install …" sh -ec …`: the training environment has the packages already
    words = main["args"][main["args"].index("sh", 1) :]
    words = [given if word == "{{$}}" else word.replace(NAMED_SERVER, server) for word in words]
    run_container(words, env, python=PYTHON, folder=folder)


def written(server: str, run_name: str) -> dict[str, Any]:
    """Return a run in these tests' workspace, without the fields that differ between runs."""
    headers = {"X-MLFLOW-WORKSPACE": WORKSPACE}
    with httpx.Client(base_url=f"{server}/api/2.0/mlflow/", headers=headers, trust_env=False, timeout=120) as client:
        named = client.get("experiments/get-by-name", params={"experiment_name": "kfp-training-experiment"}).json()
        query = {
            "experiment_ids": [named["experiment"]["experiment_id"]],
            "filter": f"attributes.run_name = '{run_name}'",
        }
        (run_found,) = client.post("runs/search", json=query).raise_for_status().json()["runs"]
    tags = {tag["key"]: tag["value"] for tag in run_found["data"]["tags"]}
    return {
        "status": run_found["info"]["status"],
        "params": run_found["data"]["params"],
        "metrics": {metric["key"]: (metric["value"], metric["step"]) for metric in run_found["data"]["metrics"]},
        "tags": {name: value for name, value in tags.items() if name not in {"mlflow.source.name", "mlflow.runName"}},
    }


def test_the_unchanged_pipeline_of_the_documentation_behaves_as_without_the_webhook(
    server: str, tmp_path: Path
) -> None:
    runs = {}
    for wired in (False, True):
        name = "wired" if wired else "plain"
        inputs = {"workspace": WORKSPACE, "model_name": "m", "learning_rate": 2e-4, "epochs": 3, "run_id": name}
        env = in_namespace(server, sample=AS_WRITTEN, wired=wired)
        run_component(AS_WRITTEN, env, tmp_path / name, server=server, inputs=inputs)
        runs[wired] = written(server, f"run-{name}")
    lineage = {tag for tag in runs[True]["tags"] if tag.startswith(("kfp.", "k8s."))}
    assert lineage >= {"kfp.pipeline_run_id", "k8s.pod.name"}
    for tag in lineage:
        del runs[True]["tags"][tag]
    assert runs[True] == runs[False]


def test_a_child_of_code_with_its_own_experiment_needs_the_annotation(server: str, tmp_path: Path) -> None:
    """set_experiment leaves its id in the environment. MLflow refuses it with the name of another experiment."""
    child = "import mlflow\nwith mlflow.start_run() as r: print('RUN', r.info.run_id)"
    code = f"""
        import mlflow, subprocess, sys
        mlflow.set_experiment("own")
        result = subprocess.run([sys.executable, "-c", {child!r}], capture_output=True, text=True)
        print(result.stdout, "\\nRUN failed" if result.returncode else "")
    """
    run(child, in_namespace(server), tmp_path)  # the pipeline's experiment exists from here on
    assert run(code, in_namespace(server), tmp_path) == "failed"
    env = in_namespace(server, annotations={"mlflow.kubeflow.org/experiment": ""})
    assert found(server, run(code, env, tmp_path))["experiment"] == "own"
