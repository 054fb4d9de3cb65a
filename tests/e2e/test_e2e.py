"""Unmodified training code in containers that really run, and its runs in MLflow."""

from __future__ import annotations

import copy
import json
import re
import time
from typing import Any

import pytest

from tests.cluster.stream import Stream
from tests.e2e.cluster import apply, get, kubectl
from tests.e2e.conftest import Reader, in_server
from tests.support.pods import KFP, pod
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient

LOSS = 2.0 * 0.95**10
TRAIN = ["python", "/examples/trainjob/train.py"]
READ = """
import json, sys, mlflow
experiment = mlflow.get_experiment_by_name(sys.argv[1])
runs = mlflow.MlflowClient().search_runs([experiment.experiment_id]) if experiment else []
print(json.dumps([{"name": r.info.run_name, "tags": r.data.tags, "metrics": r.data.metrics} for r in runs]))
"""
COMPONENT = """
set -e
python /examples/pipelines/unmodified.py /tmp/pipeline.yaml
python - <<'PY'
import json, os, yaml
container = yaml.safe_load(open("/tmp/pipeline.yaml"))["deploymentSpec"]["executors"]["exec-train-model"]["container"]
words = [*container["command"], *container["args"]]
values = {"model_name": "qwen3-0.6b", "learning_rate": 2e-4, "epochs": 10}
outputs = {"parameters": {"Output": {"outputFile": "/tmp/out/Output"}}, "outputFile": "/tmp/out/metadata.json"}
given = json.dumps({"inputs": {"parameterValues": values}, "outputs": outputs})
start = words.index("sh", 1)  # the first shell only installs packages, which are there
os.execvp(words[start], [given if word == "{{$}}" else word for word in words[start:]])
PY
"""


def runs(experiment: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(in_server("-W", "ignore", "-c", READ, experiment).splitlines()[-1])
    return found


def succeeded(namespace: str, selector: str) -> bool:
    pods = get("pods", namespace, f"--selector={selector}")
    for found in pods:
        if found["status"]["phase"] == "Failed":
            log = kubectl(
                "logs", f"--namespace={namespace}", found["metadata"]["name"], "--all-containers", check=False
            )
            raise AssertionError(log[-3000:])
    return bool(pods) and all(found["status"]["phase"] == "Succeeded" for found in pods)


def test_the_trainjob_of_the_page_is_wired_and_its_run_is_listed(
    team: str, training_image: str, reader: Reader
) -> None:
    kubectl("delete", "trainjob", "first-run", f"--namespace={team}", "--ignore-not-found")
    printed = reader.types("Run a TrainJob", image=training_image)
    assert re.search(r"^first-run-node-0 +node-0 +FINISHED .* 0\.5$", printed, re.MULTILINE), printed


def test_an_unmodified_trainjobs_run_is_in_mlflow(team: str, training_image: str) -> None:
    kubectl("delete", "trainjob", "finetune", f"--namespace={team}", "--ignore-not-found")
    apply(
        {
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "metadata": {"name": "finetune", "namespace": team},
            "spec": {
                "runtimeRef": {"name": "torch-distributed"},
                "trainer": {"image": training_image, "command": TRAIN, "numNodes": 1},
            },
        }
    )
    selector = "jobset.sigs.k8s.io/jobset-name=finetune"
    wait_until(lambda: succeeded(team, selector), "the training to end", seconds=240)
    (found,) = get("pods", team, f"--selector={selector}")
    (run,) = runs("finetune")
    assert run["name"] == "finetune-node-0"
    assert run["tags"]["trainjob.name"] == "finetune"
    assert run["tags"]["k8s.pod.name"] == found["metadata"]["name"]
    assert run["metrics"]["loss"] == pytest.approx(LOSS)


def test_the_captured_kfp_components_run_is_in_mlflow(team: str, training_image: str) -> None:
    captured = pod(KFP)
    main = copy.deepcopy(next(c for c in captured["spec"]["containers"] if c["name"] == "main"))
    flags = main["command"][main["command"].index("--pipeline_name") :]
    run_id = flags[flags.index("--run_id") + 1]
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "component",
                "namespace": team,
                "labels": captured["metadata"]["labels"] | {"app": "component"},
                "annotations": captured["metadata"]["annotations"],
            },
            "spec": {
                "restartPolicy": "Never",
                "initContainers": [{"name": "kfp-launcher", "image": training_image, "command": ["true"]}],
                "containers": [
                    # `sh -c SCRIPT` takes no notice of the launcher's flags, from which the run's lineage is read.
                    {"name": "main", "image": training_image, "command": ["sh", "-c", COMPONENT, "launcher", *flags]}
                ],
            },
        }
    )
    wait_until(lambda: succeeded(team, "app=component"), "the component to end", seconds=240)
    (run,) = runs("mlflow-training-pipeline")
    assert run["name"] == f"train-model-{run_id[:8]}"
    assert run["tags"]["kfp.pipeline_run_id"] == run_id
    assert run["tags"]["kfp.task_name"] == "train-model"
    assert run["tags"]["k8s.pod.name"] == "component"
    assert run["metrics"]["loss"] == pytest.approx(LOSS)


def test_a_missing_token_delays_only_pods_with_their_own_label(team: str, training_image: str) -> None:
    kubectl("delete", "namespace", "team-b", "--ignore-not-found", "--timeout=120s")
    kubectl("create", "namespace", "team-b")
    kubectl("label", "namespace", "team-b", "mlflow-enabled=true")

    def training(name: str, **labels: str) -> dict[str, Any]:
        container = {"name": "node", "image": training_image, "command": ["true"]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "team-b",
                "labels": {"jobset.sigs.k8s.io/jobset-name": name, "app": name, **labels},
            },
            "spec": {"restartPolicy": "Never", "containers": [container]},
        }

    wait_until(lambda: bool(get("serviceaccounts", "team-b")), "the service account")
    apply(training("implied"), training("explicit", **{"mlflow-enabled": "true"}))
    wait_until(lambda: succeeded("team-b", "app=implied"), "the implied pod to end")

    def waits_for_the_secret() -> bool:
        (found,) = get("pods", "team-b", "--selector=app=explicit")
        waiting = [s.get("state", {}).get("waiting", {}) for s in found["status"].get("containerStatuses", [])]
        return any("mlflow-token" in state.get("message", "") for state in waiting)

    wait_until(waits_for_the_secret, "the kubelet to say that the Secret is missing")
    kubectl("create", "secret", "generic", "mlflow-token", "--namespace=team-b", "--from-literal=token=x")
    wait_until(lambda: succeeded("team-b", "app=explicit"), "the explicit pod to go on", seconds=180)


def test_no_pod_is_refused_or_left_unwired_while_the_webhook_is_restarted(team: str, admin: KubeClient) -> None:
    started = time.monotonic()
    with Stream(admin, team) as stream:
        kubectl("rollout", "restart", "deployment/mlflow-webhook", "--namespace=mlflow-webhook")
        kubectl("rollout", "status", "deployment/mlflow-webhook", "--namespace=mlflow-webhook", "--timeout=180s")
        wait_until(lambda: len(get("pods", "mlflow-webhook")) == 2, "the old pods to be gone", seconds=90)
    seconds = time.monotonic() - started
    print(f"\n{stream.calls} pods in {seconds:.0f} s, {len(stream.failures)} failed")  # noqa: T201 - figures
    assert stream.failures == []
    assert stream.calls > 100
