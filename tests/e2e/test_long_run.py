"""A run that lasts several lifetimes of its token, with the client plugin and without it, on a real kubelet."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import ROOT, apply, get, kubectl
from tests.e2e.conftest import in_server
from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME
from tests.support.waiting import wait_until
from webhook import __version__

LIFETIME = 150
"""Seconds of a token. The kubelet needs up to 90 to change a file after its Secret, and the refresh runs every 10."""
LASTS = 3 * LIFETIME + 30
ISSUER = "http://dex-short.auth.svc.cluster.local:5556/dex"
GUARD = "http://mlflow-guard.kubeflow:5000"
TRAIN = f"""
import json, time, mlflow

calls = failed = step = 0

def call(log, *arguments, **named):
    global calls, failed
    calls += 1
    try:
        log(*arguments, **named)
    except Exception:
        failed += 1

end = time.monotonic() + {LASTS}
mlflow.start_run()
while time.monotonic() < end:
    step += 1
    call(mlflow.log_metric, "loss", 1 / step, step=step)
    if step % 30 == 1:
        call(mlflow.log_text, str(step), f"step-{{step}}.txt")
    time.sleep(1)
call(mlflow.end_run)
print(json.dumps({{"calls": calls, "failed": failed, "steps": step}}))
"""
READ = """
import json, sys, mlflow
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name(sys.argv[1])
(run,) = client.search_runs([experiment.experiment_id])
print(json.dumps({
    "status": run.info.status,
    "user": run.data.tags["mlflow.user"],
    "metrics": len(client.get_metric_history(run.info.run_id, "loss")),
    "artifacts": len(client.list_artifacts(run.info.run_id)),
}))
"""


def serve(name: str, namespace: str, port: int, image: str, command: list[str], **environment: str) -> None:
    """Run one replica behind a Service of the same name, and wait for it."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": image,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    metadata = {"name": name, "namespace": namespace}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": port}]},
        },
    )
    kubectl("rollout", "status", f"deployment/{name}", f"--namespace={namespace}", "--timeout=120s")


@pytest.fixture
def refreshed(team: str, training_image: str) -> str:
    """The namespace team-long with a token of the stand-in issuer, which `token refresh` replaces all the time."""
    serve(
        "dex-short", "auth", 5556, training_image, ["python", "/dex.py"],
        DEX_ISSUER=ISSUER, DEX_LIFETIME=str(LIFETIME),
    )  # fmt: skip
    serve(
        "mlflow-guard", "kubeflow", 5000, training_image, ["python", "/guard.py"], SERVER="mlflow-tracking-server:5000"
    )
    namespace = "team-long"
    kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s")
    credentials = {"username": USERNAME, "password": PASSWORD, "client-id": CLIENT_ID, "client-secret": CLIENT_SECRET}
    annotations = {"mlflow.kubeflow.org/tracking-uri": GUARD, "mlflow.kubeflow.org/workspace": "team-a"}
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "annotations": annotations}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "mlflow-token-credentials", "namespace": namespace},
            "stringData": credentials,
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        component = os.path.relpath(ROOT / "manifests/components/token-refresh", Path(folder).resolve())
        suspended = '[{"op": "add", "path": "/spec/suspend", "value": true}]'
        settings = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "mlflow-token-refresh"},
            "data": {"MLFLOW_TOKEN_ISSUER": ISSUER, "MLFLOW_TOKEN_AUDIENCE": CLIENT_ID},
        }
        document = {
            "namespace": namespace,
            "components": [component],
            "patches": [
                {"patch": yaml.safe_dump(settings)},
                {"target": {"kind": "CronJob"}, "patch": suspended},
            ],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(document))
        kubectl("apply", "--kustomize", folder)
    (job,) = get("cronjobs", namespace)
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    loop = "while true; do mlflow-webhook token refresh --credentials=/credentials --after 0.05; sleep 10; done"
    spec["containers"][0] |= {"command": ["sh", "-c", loop], "args": [], "image": f"mlflow-webhook:{__version__}"}
    apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "refresh", "namespace": namespace}, "spec": spec},
    )

    def has_token() -> bool:
        found = json.loads(kubectl("get", "secret", "mlflow-token", f"--namespace={namespace}", "--output=json"))
        return bool((found.get("data") or {}).get("token"))

    wait_until(has_token, "the first token", seconds=60)
    return namespace


def train(name: str, namespace: str, image: str, **annotations: str) -> None:
    container = {"name": "main", "image": image, "command": ["python", "-W", "ignore", "-c", TRAIN]}
    apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"mlflow-enabled": "true"},
                "annotations": {f"mlflow.kubeflow.org/{key}": value for key, value in annotations.items()},
            },
            "spec": {"restartPolicy": "Never", "containers": [container]},
        }
    )


def outcome(name: str, namespace: str) -> dict[str, Any]:
    """Return the counts of the training code, and its run on the server."""
    printed: dict[str, Any] = json.loads(kubectl("logs", name, f"--namespace={namespace}").splitlines()[-1])
    stored: dict[str, Any] = json.loads(in_server("-W", "ignore", "-c", READ, name).splitlines()[-1])
    return printed | stored


@pytest.mark.timeout(LASTS + 1200)
def test_a_run_outlives_its_token_with_the_plugin_and_only_with_it(refreshed: str, training_image: str) -> None:
    train("with-plugin", refreshed, training_image, **{"client-plugin": "true"})
    train("without-plugin", refreshed, training_image)

    def ended() -> bool:
        phases = [
            found["status"]["phase"]
            for found in get("pods", refreshed)
            if found["metadata"]["name"] in {"with-plugin", "without-plugin"}
        ]
        return len(phases) == 2 and set(phases) <= {"Succeeded", "Failed"}

    wait_until(ended, "both runs to end", seconds=LASTS + 180)
    fresh, stale = outcome("with-plugin", refreshed), outcome("without-plugin", refreshed)
    print(f"\nwith the plugin: {fresh}\nwithout it: {stale}")  # noqa: T201 - figures for the reader
    assert fresh["failed"] == 0
    assert fresh["status"] == "FINISHED"
    assert fresh["metrics"] == fresh["steps"]
    assert fresh["artifacts"] == (fresh["steps"] + 29) // 30
    assert fresh["user"] == USERNAME
    assert stale["failed"] > stale["calls"] / 2
    assert stale["status"] == "RUNNING"
    assert stale["metrics"] < stale["steps"]
