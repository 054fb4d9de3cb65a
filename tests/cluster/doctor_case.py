"""A healthy installation and namespace on the control plane for the doctor, and ways to break them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from certs.issue import KeyPair, issue_ca, issue_leaf
from tests.cluster.controlplane import ControlPlane, encoded
from tests.cluster.installation import CONFIGURATION, NAME, NAMESPACE, ROOT, Installation
from tests.cluster.stream import pod, wired
from tests.support.dex import Dex
from tests.support.dex import jwt as sign
from tests.support.environment import bare
from tests.support.proxy import Server
from tests.support.waiting import DEADLINE, wait_until
from webhook.cli import cli
from webhook.cluster.kube import core_path, group_path

NOW = datetime.now(UTC)
CA = issue_ca(common_name="the tests'", lifetime=timedelta(days=30), now=NOW)
DEPLOYMENT = group_path("apps/v1", "deployments", NAME, namespace=NAMESPACE)
READY = {"status": {"phase": "Running", "containerStatuses": None, "conditions": [{"type": "Ready", "status": "True"}]}}
JSON_PATCH = "application/json-patch+json"


class DoctorCase:
    """One healthy installation and namespace, and ways to break them."""

    def __init__(self, installation: Installation, server: Server, dex: Dex, folder: Path) -> None:
        self.installation, self.admin, self.server = installation, installation.admin, server
        self.dex = dex
        self.folder, self.namespace = folder, f"case-{time.monotonic_ns()}"
        self.serve(timedelta(days=20))

    def leaf(self, lifetime: timedelta) -> KeyPair:
        return issue_leaf(CA, dns_names=["x"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=datetime.now(UTC))

    def serve(self, lifetime: timedelta) -> None:
        leaf = self.leaf(lifetime)
        (self.folder / "tls.key").write_bytes(leaf.private_key_pem)
        (self.folder / "tls.crt").write_bytes(leaf.certificate_pem)

    def bundle(self, ca: KeyPair | None) -> None:
        self.installation.call_with("caBundle", encoded(ca.certificate_pem) if ca else None)

    def spoil(self, path: str, value: Any = None) -> None:
        operation = {"op": "remove", "path": path} if value is None else {"op": "replace", "path": path, "value": value}
        self.admin.patch(CONFIGURATION, [operation], content_type=JSON_PATCH)

    def token(self, token: str, key: str = "token") -> None:
        path = core_path(self.namespace, "secrets", "mlflow-token")
        self.admin.patch(path, {"data": {"token": None, key: b64encode(token.encode()).decode()}})

    def label(self, value: str | None) -> None:
        self.admin.patch(f"/api/v1/namespaces/{self.namespace}", {"metadata": {"labels": {"mlflow-enabled": value}}})

    def annotate(self, value: str | None, key: str = "tracking-uri") -> None:
        annotation = {f"mlflow.kubeflow.org/{key}": value}
        self.admin.patch(f"/api/v1/namespaces/{self.namespace}", {"metadata": {"annotations": annotation}})

    def wait_for_environment(self, expected: Callable[[dict[str, str | None]], bool]) -> None:
        """Wait until the webhook has seen a change of the namespace, by the environment that it gives to a pod.

        The check reads the namespace itself, so it may know of a change before the webhook does.
        """

        def seen() -> bool:
            created = self.admin.create(core_path(self.namespace, "pods"), pod(), params={"dryRun": "All"})
            return expected({entry["name"]: entry.get("value") for entry in created["spec"]["containers"][0]["env"]})

        wait_until(seen, "the webhook to see the change of the namespace")

    def ready(self, number: int, waiting: str = "") -> None:
        """Make some replicas ready, and the others not; `waiting` is why their containers have not started."""
        path = core_path(NAMESPACE, "pods")

        def pods() -> list[dict[str, Any]]:
            params = {"labelSelector": f"app.kubernetes.io/name={NAME}"}
            items: list[dict[str, Any]] = self.admin.list(path, params=params)["items"]
            return items

        wait_until(lambda: len(pods()) == 2, "the replicas' pods")
        for index, found in enumerate(pods()):
            container = {"name": "webhook", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
            held = [container | {"state": {"waiting": {"reason": waiting}}}] if waiting else None
            not_ready = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": held}
            status = READY if index < number else {"status": not_ready}
            self.admin.patch(f"{path}/{found['metadata']['name']}/status", status)
        wait_until(
            lambda: self.admin.get(DEPLOYMENT).get("status", {}).get("readyReplicas", 0) == number,
            f"{number} ready replicas",
        )

    def jwt(self, **claims: Any) -> str:
        return sign(**{"iss": self.dex.issuer, **claims})

    def cure(self, *, installation: bool = True) -> None:
        """Repair everything. The installation takes longest: only if it was changed."""
        if installation:
            self.installation.install()
            self.bundle(CA)
        self.label("true")
        self.annotate(None)
        self.token(self.jwt())

    def check(self, *arguments: str, kubeconfig: Path | None = None) -> tuple[int, list[dict[str, str]]]:
        """Run the check; return its exit code and the findings of all sections."""
        code, sections = self.sections(*arguments, kubeconfig=kubeconfig)
        return code, [finding for section in sections for finding in section["findings"]]

    def sections(self, *arguments: str, kubeconfig: Path | None = None) -> tuple[int, list[dict[str, Any]]]:
        code, output = self.run(*arguments, "-o", "json", kubeconfig=kubeconfig)
        return code, json.loads(output)

    def run(self, *arguments: str, kubeconfig: Path | None = None) -> tuple[int, str]:
        """Call the command in this process: a separate one would take longer to start than to check."""
        without = dict.fromkeys(os.environ.keys() - bare().keys())
        words = self._words(*arguments, kubeconfig=kubeconfig)
        result = CliRunner(env=without).invoke(cli, words, prog_name="mlflow-webhook")
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        assert "eyJ" not in result.output
        return result.exit_code, result.stdout or result.stderr

    def process(self, *arguments: str) -> tuple[int, str]:
        """Run the command as a process, as users do."""
        command = [sys.executable, "-m", "webhook.cli", *self._words(*arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE, cwd=ROOT, env=bare()
        )
        assert "eyJ" not in done.stdout + done.stderr
        assert not done.stderr
        return done.returncode, done.stdout

    def _words(self, *arguments: str, kubeconfig: Path | None = None) -> list[str]:
        words = ["check", *arguments, f"--kubeconfig={kubeconfig or self.installation.plane.kubeconfig}"]
        if len(arguments) == 0 or arguments[0] not in {"pod", "trainjob", "run"}:
            words += [f"--url={self.server.url}", "--timeout=60"]
        return words


@contextmanager
def healthy(control_plane: ControlPlane, folder: Path) -> Iterator[DoctorCase]:
    """Install the webhook with a running replica, a server and an issuer, and a namespace in which pods are wired."""
    installation, server, dex = Installation(control_plane), Server(), Dex()
    server.issuer = dex.issuer
    try:
        # Pods that other tests' overlays have left never become ready, and would hold up the rollout of these.
        control_plane.kubectl(
            "delete", f"deployment/{NAME}", f"--namespace={NAMESPACE}", "--ignore-not-found", "--cascade=foreground"
        )
        installation.install()
        made = DoctorCase(installation, server, dex, folder)
        admin = installation.admin
        admin.create("/api/v1/namespaces", {"metadata": {"name": made.namespace}})
        admin.create(core_path(made.namespace, "secrets"), {"metadata": {"name": "mlflow-token"}})
        server.workspaces.add(made.namespace)
        made.cure()
        files = {"MLFLOW_WEBHOOK_CERTIFICATES": "files", "MLFLOW_WEBHOOK_CERTIFICATE_DIRECTORY": str(folder)}
        installation.start(1, files)
        made.ready(2)
        accounts = core_path(made.namespace, "serviceaccounts")
        wait_until(lambda: bool(admin.list(accounts)["items"]), "the service account")
        wait_until(lambda: wired(admin, made.namespace), "pods to be wired")
        yield made
    finally:
        server.stop()
        dex.stop()
        installation.remove()
