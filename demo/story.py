"""The steps of the demo: the webhook wires a pod, the pod's code runs, and its run is found in MLflow."""

from __future__ import annotations

import base64
import copy
import json
import ssl
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jsonpatch
import yaml

from demo.processes import DemoError, run_code, run_container
from tests.support.kubelet import container_environment

NAMESPACE = "team-a"
SECRETS = {"mlflow-token": {"token": "a-placeholder"}}
EXPECTED_LOSS = 2.0 * 0.95**10


class Story(NamedTuple):
    """One workload: its review, the container with its code, the command to run, and the expected run."""

    title: str
    review: dict[str, Any]
    container: str
    command: list[str]
    experiment: str
    run_name: str
    tags: dict[str, str]


class FoundRun(NamedTuple):
    """A run on the server."""

    experiment: str
    name: str
    tags: dict[str, str]
    metrics: dict[str, float]


def kfp_story(*, example: Path, python: Path, folder: Path) -> Story:
    """Compile the pipeline, and put its component into the pod that KFP would create."""
    compiled = folder / "pipeline.yaml"
    run_code("compiling the pipeline", [str(python), "-W", "ignore", str(example), str(compiled)], folder=folder)
    specification = yaml.safe_load(compiled.read_text())
    executor = specification["deploymentSpec"]["executors"]["exec-train-model"]["container"]
    arguments = [*executor["command"], *executor["args"]]
    review = _load("kfp")
    pod = review["request"]["object"]
    main = next(container for container in pod["spec"]["containers"] if container["name"] == "main")
    main["args"] = arguments
    run_id = main["command"][main["command"].index("--run_id") + 1]
    # `sh -c "pip install … && \"$0\" \"$@\"" sh -ec …`: the rest is what the first shell runs after pip. The training
    # environment already has the packages.
    start = arguments.index("sh", 1)
    command = [_executor_input(folder) if word == "{{$}}" else word for word in arguments[start:]]
    return Story(
        title="KFP component",
        review=review,
        container="main",
        command=command,
        experiment="mlflow-training-pipeline",
        run_name=f"train-model-{run_id[:8]}",
        tags={
            "kfp.pipeline_name": "mlflow-training-pipeline",
            "kfp.pipeline_run_id": run_id,
            "kfp.task_name": "train-model",
            "kfp.task_path": "train-model",
            "k8s.pod.name": pod["metadata"]["name"],
        },
    )


def trainjob_story(*, example: Path, python: Path) -> Story:
    """Put the training code into the pod that the Job controller creates for a TrainJob's node."""
    review = _load("trainjob")
    pod = review["request"]["object"]
    command = [str(python), str(example)]
    pod["spec"]["containers"][0].update(command=["python", "train.py"], args=[])
    return Story(
        title="TrainJob node",
        review=review,
        container="node",
        command=command,
        experiment="mlflow-finetune",
        run_name="mlflow-finetune-node-0",
        tags={"trainjob.name": "mlflow-finetune", "k8s.pod.name": "mlflow-finetune-node-0-0-x7k2p"},
    )


def post_review(story: Story, *, url: str, ca: Path) -> dict[str, Any]:
    """Send the review as the API server would, and return the pod with the answer's patch."""
    context = ssl.create_default_context(cafile=str(ca))
    with httpx.Client(verify=context, trust_env=False, timeout=10) as client:
        try:
            answer = client.post(f"{url}/mutate?timeout=5s", json=story.review)
        except httpx.TransportError as error:
            raise DemoError(f"the webhook does not answer: {error}") from None
    if answer.status_code != 200:
        raise DemoError(f"the webhook answered {answer.status_code}: {answer.text}")
    response = answer.json()["response"]
    if "patch" not in response:
        raise DemoError(f"the webhook did not wire the pod: {response.get('auditAnnotations')}")
    operations = json.loads(base64.b64decode(response["patch"]))
    wired: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(story.review["request"]["object"]), operations)
    return wired


def run_pod(story: Story, pod: dict[str, Any], *, python: Path, folder: Path) -> None:
    """Run the container's code with the environment that a kubelet would set."""
    environment = container_environment(named(pod), story.container, secrets=SECRETS)
    run_container(story.command, environment, python=python, folder=folder)


def named(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod with a name. The API server makes it from generateName after admission."""
    found = copy.deepcopy(pod)
    if not found["metadata"].get("name"):
        found["metadata"]["name"] = found["metadata"]["generateName"] + "x7k2p"
    return found


def create_workspace(server: str) -> None:
    """Create the workspace, as MLflow's Kubernetes plugin does for a labelled namespace."""
    _call(server, "POST", "3.0/mlflow/workspaces", json={"name": NAMESPACE})


def find_run(server: str, story: Story) -> FoundRun:
    """Read the run from the server, and compare it with the story. Raises DemoError if they differ."""
    found = _call(server, "GET", "2.0/mlflow/experiments/get-by-name", params={"experiment_name": story.experiment})
    experiment = found["experiment"]["experiment_id"]
    runs = _call(server, "POST", "2.0/mlflow/runs/search", json={"experiment_ids": [experiment]}).get("runs", [])
    if len(runs) != 1:
        raise DemoError(f"{len(runs)} runs in the experiment {story.experiment}, expected 1")
    data = runs[0]["data"]
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    metrics = {metric["key"]: metric["value"] for metric in data.get("metrics", [])}
    _check("run name", runs[0]["info"]["run_name"], story.run_name)
    for name, value in story.tags.items():
        _check(f"tag {name}", tags.get(name), value)
    _check("metric loss", round(metrics.get("loss", 0), 9), round(EXPECTED_LOSS, 9))
    return FoundRun(story.experiment, story.run_name, {name: tags[name] for name in story.tags}, metrics)


def _check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise DemoError(f"{what}: found {found!r} in MLflow, expected {expected!r}")


def _call(server: str, method: str, path: str, **arguments: Any) -> Any:
    send: Callable[..., httpx.Response] = httpx.request
    headers = {"X-MLFLOW-WORKSPACE": NAMESPACE} if "workspaces" not in path else {}
    try:
        answer = send(method, f"{server}/api/{path}", headers=headers, trust_env=False, timeout=30, **arguments)
    except httpx.TransportError as error:
        raise DemoError(f"MLflow does not answer: {error}") from None
    if not answer.is_success:
        raise DemoError(f"MLflow answered {answer.status_code} to {path}: {answer.text[:500]}")
    return answer.json()


def _load(name: str) -> dict[str, Any]:
    """Load a review captured from the real controllers, with the demo's namespace."""
    text = resources.files("demo").joinpath(f"{name}.review.json").read_text()
    review: dict[str, Any] = json.loads(text)
    review["request"]["namespace"] = NAMESPACE
    review["request"]["object"]["metadata"]["namespace"] = NAMESPACE
    return review


def _executor_input(folder: Path) -> str:
    """Return what KFP's launcher writes in place of ``{{$}}``, with the outputs in the demo's folder."""
    return json.dumps(
        {
            "inputs": {"parameterValues": {"model_name": "qwen3-0.6b", "learning_rate": 2e-4, "epochs": 10}},
            "outputs": {
                "parameters": {"Output": {"outputFile": str(folder / "outputs" / "Output")}},
                "outputFile": str(folder / "outputs" / "metadata.json"),
            },
        }
    )
