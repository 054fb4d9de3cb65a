"""The refresh job in a real cluster, and the doctor from outside the cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import ROOT, apply, get, kubectl
from tests.e2e.conftest import Reader
from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME
from tests.support.waiting import wait_until

ISSUER = "http://dex.auth.svc.cluster.local:5556/dex"


@pytest.fixture(scope="module")
def dex(training_image: str) -> str:
    """A stand-in for Dex, as a Service; returns its issuer."""
    labels = {"app": "dex"}
    container = {
        "name": "dex",
        "image": training_image,
        "command": ["python", "/dex.py"],
        "env": [{"name": "DEX_ISSUER", "value": ISSUER}],
        "readinessProbe": {"tcpSocket": {"port": 5556}, "periodSeconds": 1},
    }
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "auth"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "dex", "namespace": "auth"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "dex", "namespace": "auth"},
            "spec": {"selector": labels, "ports": [{"port": 5556}]},
        },
    )
    kubectl("rollout", "status", "deployment/dex", "--namespace=auth", "--timeout=120s")
    return ISSUER


@pytest.fixture(scope="module")
def refreshed(team: str, dex: str) -> Iterator[str]:
    """Apply the component and the credentials' Secret to team-a."""
    credentials = {
        "username": USERNAME,
        "password": PASSWORD,
        "client-id": CLIENT_ID,
        "client-secret": CLIENT_SECRET,
    }
    apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "mlflow-token-credentials", "namespace": team},
            "stringData": credentials,
        }
    )
    kubectl("delete", "secret", "mlflow-token", f"--namespace={team}", "--ignore-not-found")
    with tempfile.TemporaryDirectory() as folder:
        component = os.path.relpath(ROOT / "manifests/components/token-refresh", Path(folder).resolve())
        document: dict[str, Any] = {
            "namespace": team,
            "components": [component],
            "patches": [
                {
                    "patch": yaml.safe_dump(
                        {
                            "apiVersion": "v1",
                            "kind": "ConfigMap",
                            "metadata": {"name": "mlflow-token-refresh"},
                            "data": {"MLFLOW_TOKEN_ISSUER": dex, "MLFLOW_TOKEN_AUDIENCE": CLIENT_ID},
                        }
                    )
                },
                {
                    "target": {"kind": "CronJob"},
                    "patch": '[{"op": "replace", "path": "/spec/schedule", "value": "* * * * *"}]',
                },
            ],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(document))
        kubectl("apply", "--kustomize", folder)
    yield team
    kubectl("delete", "cronjob", "mlflow-token-refresh", f"--namespace={team}", "--ignore-not-found")


def token(namespace: str) -> str:
    found = json.loads(kubectl("get", "secret", "mlflow-token", f"--namespace={namespace}", "--output=json"))
    return b64decode((found.get("data") or {}).get("token", "")).decode()


def check(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "webhook.cli", "check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert "eyJ" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_job_puts_a_token_into_the_secret_and_nobody_sees_it(refreshed: str) -> None:
    wait_until(lambda: token(refreshed).count(".") == 2, "the job to run", seconds=150)
    found = get("secrets", refreshed, "--field-selector=metadata.name=mlflow-token")[0]
    assert found["metadata"]["annotations"]["mlflow.kubeflow.org/token-owner"] == USERNAME
    (pod, *_) = get("pods", refreshed, "--selector=app.kubernetes.io/name=mlflow-token-refresh")
    log = kubectl("logs", f"--namespace={refreshed}", pod["metadata"]["name"])
    assert "created (the Secret had no token); alice@example.com's token" in log or "kept" in log
    assert "eyJ" not in log


def test_from_outside_the_cluster_check_passes_and_names_a_planted_fault(refreshed: str, reader: Reader) -> None:
    wait_until(lambda: token(refreshed).count(".") == 2, "the job to run", seconds=150)
    assert "workspace-access: experiments in team-a can be read" in reader.types("Check")
    code, said = check(refreshed, "--write")
    assert code == 0, said
    assert "a run and an artifact were written and deleted" in said
    kubectl("scale", "deployment/mlflow-tracking-server", "--namespace=kubeflow", "--replicas=0")
    try:
        wait_until(lambda: not get("pods", "kubeflow", "--selector=app=mlflow-tracking-server"), "the server to go")
        code, said = check(refreshed)
        assert (code, "has no ready pod" in said) == (3, True), said
    finally:
        kubectl("scale", "deployment/mlflow-tracking-server", "--namespace=kubeflow", "--replicas=1")
        kubectl("rollout", "status", "deployment/mlflow-tracking-server", "--namespace=kubeflow", "--timeout=240s")
    kubectl("label", "namespace", refreshed, "mlflow-enabled=yes", "--overwrite")
    try:
        code, said = check(refreshed)
    finally:
        kubectl("label", "namespace", refreshed, "mlflow-enabled=true", "--overwrite")
    assert code == 3
    assert "label_not_true" in said
