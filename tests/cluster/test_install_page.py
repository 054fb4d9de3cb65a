"""docs/install.md and the README, command by command, on the control plane. No images are built, no pods run."""

from __future__ import annotations

import os
import shutil
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import find
from tests.cluster.certmanager import CertManager
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import ROOT, Installation
from tests.cluster.stream import wired
from tests.cluster.trainer import Trainer
from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, Dex
from tests.support.page import commands, type_commands
from tests.support.waiting import wait_until
from webhook import __version__
from webhook.cluster.kube import KubeClient, core_path, group_path

PAGE = commands(ROOT / "docs" / "install.md")
TOKEN = commands(ROOT / "docs" / "token.md")
README = commands(ROOT / "README.md")
BEFORE = """
export IMAGE=registry.example.com/mlflow-webhook
docker() { :; }
git() { :; }
python3() { :; }
kubectl() { if [ "$1" != rollout ]; then "$KUBECTL" "$@"; fi }
"""


ISSUER = "https://kubeflow.example.com/dex"
COMMANDS = {
    "pip": "#!/bin/sh\n",
    # There is no tracking server to check; `make e2e` types that line.
    "mlflow-webhook": f'#!/bin/sh\n[ "$1" = check ] || PYTHONPATH={ROOT} exec {sys.executable} -m webhook.cli "$@"\n',
}
"""What the page installs into the checkout's .venv."""


class Reader:
    """A user with a checkout who types the commands of the page."""

    def __init__(self, plane: ControlPlane, checkout: Path, dex: Dex) -> None:
        self.plane, self.checkout, self.dex = plane, checkout, dex
        shutil.copytree(ROOT / "manifests", checkout / "manifests")
        (checkout / "token.txt").write_text("header.claims.signature")
        (checkout / ".venv" / "bin").mkdir(parents=True)
        for name, script in COMMANDS.items():
            file = checkout / ".venv" / "bin" / name
            file.write_text(script)
            file.chmod(0o755)

    def types(self, heading: str, number: int | None = None, *, page: dict[str, list[str]] = PAGE) -> str:
        """Run a section's blocks, or one of them; returns what they print."""
        blocks = page[heading] if number is None else [page[heading][number]]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.checkout),
            "KUBECONFIG": str(self.plane.kubeconfig),
            "KUBECTL": str(find("kubectl")),
            "MLFLOW_TOKEN_USERNAME": USERNAME,
            "MLFLOW_TOKEN_PASSWORD": PASSWORD,
            "MLFLOW_TOKEN_CLIENT_ID": CLIENT_ID,
            "MLFLOW_TOKEN_CLIENT_SECRET": CLIENT_SECRET,
        }
        blocks = [block.replace(ISSUER, self.dex.issuer) for block in blocks]
        return type_commands(blocks, folder=self.checkout, environment=environment, before=BEFORE)

    def objects(self) -> set[str]:
        """Return what the overlay consists of now, as kubectl's TYPE/NAME."""
        text = self.plane.kubectl("kustomize", self.checkout / "install")
        documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
        return {f"{found['kind']}/{found['metadata']['name']}" for found in documents}

    def exists(self, thing: str) -> bool:
        """Return whether the API server has an object of the installation."""
        return bool(self.plane.kubectl("get", thing, "--namespace=mlflow-webhook", "--ignore-not-found"))

    def switch(self, old: str, new: str) -> None:
        """Change the overlay in the kustomization, and apply it."""
        file = self.checkout / "install" / "kustomization.yaml"
        file.write_text(file.read_text().replace(f"overlays/{old}", f"overlays/{new}"))
        self.plane.kubectl("apply", f"--kustomize={file.parent}")


@pytest.fixture
def reader(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Reader]:
    dex = Dex()
    try:
        yield Reader(control_plane, tmp_path, dex)
    finally:
        dex.stop()
    control_plane.kubectl("delete", "mutatingwebhookconfiguration", "mlflow-webhook", "--ignore-not-found")


def test_the_page_leads_from_a_checkout_to_a_wired_trainjob_and_back(
    reader: Reader, admin: KubeClient, trainer: Trainer
) -> None:
    reader.types("Build the image")
    reader.types("Apply")
    installation = Installation.of_what_is_there(reader.plane)
    try:
        installation.start()
        reader.types("Label a namespace", 0)
        accounts = core_path("team-a", "serviceaccounts")
        wait_until(lambda: bool(admin.list(accounts)["items"]), "the namespace's service account")
        wait_until(lambda: wired(admin, "team-a"), "the webhook to be called")
        assert "MLFLOW_TRACKING_URI" in reader.types("Label a namespace", 1)
        assert "created (the Secret had no token)" in reader.types("Get a token")
        reader.types("Run a TrainJob", 0)
        wait_until(lambda: bool(admin.list(core_path("team-a", "pods"))["items"]), "the TrainJob's pod")
        assert '"decision":"wired"' in reader.types("Run a TrainJob", 1)
        reader.plane.kubectl("delete", "namespace", "team-a")
    finally:
        installation.stop(*installation.replicas)
        installation.balancer.stop()
    reader.types("Uninstall")
    assert not reader.exists("namespace/mlflow-webhook")
    assert not reader.exists("clusterrole/mlflow-webhook")


def test_the_readmes_commands_install_and_enable_a_namespace(reader: Reader, admin: KubeClient) -> None:
    admin.create("/api/v1/namespaces", {"metadata": {"name": "team-a"}})
    try:
        reader.types("Install", page=README)
        reader.types("Enable a namespace", 0, page=README)
        assert admin.get("/api/v1/namespaces/team-a")["metadata"]["labels"]["mlflow-enabled"] == "true"
        assert admin.get(core_path("team-a", "secrets", "mlflow-token"))["data"].keys() == {"token"}
        reader.plane.kubectl("delete", "secret", "mlflow-token", "--namespace=team-a")
        reader.types("Store a token that you already have", page=TOKEN)
        assert admin.get(core_path("team-a", "secrets", "mlflow-token"))["data"].keys() == {"token"}
        deployment = admin.get(group_path("apps/v1", "deployments", "mlflow-webhook", namespace="mlflow-webhook"))
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"registry.example.com/mlflow-webhook:{__version__}"
    finally:
        reader.plane.kubectl("delete", "namespace", "team-a")


def test_the_pages_commands_set_up_the_refresh_of_a_token(reader: Reader, admin: KubeClient) -> None:
    admin.create("/api/v1/namespaces", {"metadata": {"name": "team-a"}})
    try:
        (reader.checkout / "credentials").mkdir()
        for name in ("username", "password", "client-id", "client-secret"):
            (reader.checkout / "credentials" / name).write_text("x")
        reader.types("Get a token")
        reader.types("In the cluster", page=TOKEN)
        token = admin.get(core_path("team-a", "secrets", "mlflow-token"))["data"]["token"]
        assert b64decode(token).count(b".") == 2, "the component keeps the token that was there"
        (job,) = admin.list(group_path("batch/v1", "jobs", namespace="team-a"))["items"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"registry.example.com/mlflow-webhook:{__version__}"
        (source,) = container["envFrom"]
        settings = admin.get(core_path("team-a", "configmaps", source["configMapRef"]["name"]))["data"]
        assert settings["MLFLOW_TOKEN_AUDIENCE"] == "kubeflow-oidc-authservice"
        credentials = admin.get(core_path("team-a", "secrets", "mlflow-token-credentials"))["data"]
        assert credentials.keys() == {"username", "password", "client-id", "client-secret"}
    finally:
        reader.plane.kubectl("delete", "namespace", "team-a")


def test_switching_overlays_leaves_nothing_of_the_old_one(reader: Reader, cert_manager: CertManager) -> None:
    reader.types("Apply")
    reader.plane.kubectl("create", "secret", "generic", "mlflow-webhook-ca", "--namespace=mlflow-webhook")
    self_signed = reader.objects()
    reader.switch("self-signed", "cert-manager")
    reader.types("Which overlay", 0)
    by_cert_manager = reader.objects()
    for thing in {*(self_signed - by_cert_manager), "Secret/mlflow-webhook-ca"}:
        assert not reader.exists(thing), thing
    wait_until(lambda: reader.exists("secret/mlflow-webhook-tls"), "cert-manager to issue the certificate")
    reader.switch("cert-manager", "self-signed")
    reader.types("Which overlay", 1)
    for thing in {*(by_cert_manager - self_signed), "Secret/mlflow-webhook-tls", "Secret/mlflow-webhook-issuer"}:
        assert not reader.exists(thing), thing
    text = reader.plane.kubectl("get", "mutatingwebhookconfiguration", "mlflow-webhook", "--output=yaml")
    assert "inject-ca-from" not in yaml.safe_load(text)["metadata"].get("annotations", {})
    reader.types("Uninstall")
