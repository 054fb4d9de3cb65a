"""`make e2e`: the whole, as a user has it, in the cluster that KUBECONFIG names. Changes that cluster."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, TRAINING_IMAGE, apply, build, kubectl
from tests.support.page import commands, type_commands
from tests.support.waiting import wait_until
from webhook import __version__
from webhook.cluster.kube import KubeClient, core_path

PYTHON = "python:3.13-slim"
"""The image of the page's pods. It installs MLflow when it starts, which needs PyPI; an image with MLflow does not."""
SERVER = """
mkdir -p /data && exec mlflow server --host 0.0.0.0 --port 5000 --workers 1 --enable-workspaces --allowed-hosts '*' \
  --backend-store-uri sqlite:////data/mlflow.db --artifacts-destination /data/artifacts \
  --default-artifact-root mlflow-artifacts:/
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def admin() -> KubeClient:
    if "KUBECONFIG" not in os.environ:
        pytest.skip("set KUBECONFIG to a cluster that may be changed")
    return KubeClient.from_environment()


class Reader:
    """A user with a checkout who types the commands of docs/install.md."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout

    def types(self, heading: str, *, image: str = PYTHON) -> str:
        """Run a section's commands; returns what they print. `image`: what containers run in place of plain Python."""
        blocks = [block.replace(PYTHON, image) for block in commands(ROOT / "docs" / "install.md")[heading]]
        environment = os.environ | {"IMAGE": "mlflow-webhook"}
        return type_commands(blocks, folder=self._checkout, environment=environment, seconds=700)


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A checkout with the command installed, as the page says."""
    checkout = tmp_path_factory.mktemp("walk") / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*"))
    reading = Reader(checkout)
    reading.types("Install the command")
    return reading


@pytest.fixture(scope="session")
def installed(admin: KubeClient, reader: Reader) -> None:
    """The webhook: the image from the Dockerfile, then docs/install.md until the rollout is complete."""
    paths = ["requirements/runtime.txt", "webhook", "certs", "docker"]
    seconds = build(f"mlflow-webhook:{__version__}", *paths, dockerfile="Dockerfile")
    print(f"\nimage built and loaded in {seconds:.0f} s")  # noqa: T201 - figures for the reader
    reader.types("Apply")
    kubectl("rollout", "restart", "deployment/mlflow-webhook", "--namespace=mlflow-webhook")  # the image may be new
    kubectl("rollout", "status", "deployment/mlflow-webhook", "--namespace=mlflow-webhook", "--timeout=120s")


@pytest.fixture(scope="session")
def training_image() -> str:
    build(
        TRAINING_IMAGE,
        "requirements/training.txt",
        "examples",
        "tests/support/dex.py",
        "tests/e2e/images/training/guard.py",
        dockerfile="tests/e2e/images/training/Dockerfile",
    )
    return TRAINING_IMAGE


@pytest.fixture(scope="session")
def mlflow(admin: KubeClient, training_image: str) -> None:
    """An MLflow server with workspaces at the webhook's default address, without a proxy."""
    labels = {"app": "mlflow-tracking-server"}
    container = {
        "name": "server",
        "image": training_image,
        "command": ["sh", "-c", SERVER],
        "ports": [{"containerPort": 5000}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 5000}, "periodSeconds": 1},
    }
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubeflow"}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "mlflow-tracking-server", "namespace": "kubeflow"},
            "spec": {
                "selector": {"matchLabels": labels},
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "mlflow-tracking-server", "namespace": "kubeflow"},
            "spec": {"selector": labels, "ports": [{"port": 5000}]},
        },
    )
    # Its store goes with its pod: each run of the tests begins with an empty one.
    kubectl("rollout", "restart", "deployment/mlflow-tracking-server", "--namespace=kubeflow")
    kubectl("rollout", "status", "deployment/mlflow-tracking-server", "--namespace=kubeflow", "--timeout=240s")


@pytest.fixture(scope="session")
def team(mlflow: None, installed: None, admin: KubeClient, reader: Reader, training_image: str) -> str:
    """The namespace team-a of docs/install.md, with the label, a workspace and a token."""
    kubectl("delete", "namespace", "team-a", "--ignore-not-found", "--timeout=120s")
    kubectl("create", "namespace", "team-a")
    accounts = core_path("team-a", "serviceaccounts")
    wait_until(lambda: bool(admin.list(accounts)["items"]), "the default service account")
    assert "name: MLFLOW_TRACKING_URI" in reader.types("Label a namespace")
    kubectl("create", "secret", "generic", "mlflow-token", "--namespace=team-a", "--from-literal=token=a-placeholder")
    reader.types("The workspace", image=training_image)
    return "team-a"


def in_server(*arguments: str) -> str:
    """Run Python in the MLflow server's pod, in workspace team-a, and return what it prints."""
    return kubectl(
        "exec", "--namespace=kubeflow", "deployment/mlflow-tracking-server", "--",
        "env", "MLFLOW_TRACKING_URI=http://127.0.0.1:5000", "MLFLOW_WORKSPACE=team-a", "python", *arguments,
    )  # fmt: skip
