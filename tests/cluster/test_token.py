"""`token` with a real API server's Secrets and RBAC, and a stand-in for Dex."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import ROOT
from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, Answer, Dex, jwt
from tests.support.environment import bare
from tests.support.waiting import DEADLINE, wait_until
from webhook.cluster.kube import KubeClient, KubeForbiddenError, KubeNotFoundError, core_path

FAULTS: dict[str, dict[str, Any]] = {
    "refused": {"password": "planted-but-wrong"},
    "unknown client": {"client": "planted-but-wrong"},
    "another audience": {"claims": {"aud": "other"}, "audience": CLIENT_ID},
    "expired already": {"claims": {"exp": 1}},
    "newline": {"token": jwt() + "\n"},
    "not a token": {"token": "planted-rubbish"},
    "an error page": {"answers": [Answer(400, b"<html>planted-page</html>", {"Content-Type": "text/html"})]},
}


@pytest.fixture
def dex() -> Iterator[Dex]:
    stand_in = Dex()
    yield stand_in
    stand_in.stop()


class Command:
    """The command, run with the component's ServiceAccount. All its output is kept."""

    def __init__(self, dex: Dex, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self.dex, self._kubeconfig, self._namespace, self._folder = dex, kubeconfig, namespace, folder
        self.output = ""

    def __call__(self, *arguments: str, password: str = PASSWORD, client: str = CLIENT_SECRET) -> int:
        for name, value in {
            "username": USERNAME,
            "password": password,
            "client-id": CLIENT_ID,
            "client-secret": client,
        }.items():
            (self._folder / name).write_text(value)
        verb, *options = arguments
        command = [sys.executable, "-m", "webhook.cli", "token", verb, f"--namespace={self._namespace}", *options]
        if verb == "refresh":
            command += [f"--issuer={self.dex.issuer}", f"--credentials={self._folder}", "--attempts=1"]
        environment = bare(KUBECONFIG=str(self._kubeconfig), PYTHONPATH=str(ROOT))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE, env=environment)
        self.output = done.stdout + done.stderr
        assert "Traceback" not in self.output
        assert not any(secret in self.output for secret in (PASSWORD, CLIENT_SECRET, "planted", "eyJ"))
        return done.returncode


@pytest.fixture
def token(control_plane: ControlPlane, dex: Dex, namespace: str, tmp_path: Path) -> Command:
    """The component, installed in the test's namespace."""
    component = os.path.relpath(ROOT / "manifests" / "components" / "token-refresh", tmp_path.resolve())
    document = {"namespace": namespace, "components": [component]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(document))
    for _ in range(2):
        control_plane.kubectl("apply", "--kustomize", tmp_path)
    kubeconfig = control_plane.service_account(namespace, "mlflow-token-refresh")
    return Command(dex, kubeconfig, namespace, tmp_path)


def secret(admin: KubeClient, namespace: str) -> dict[str, Any]:
    return admin.get(core_path(namespace, "secrets", "mlflow-token"))


def stored(admin: KubeClient, namespace: str) -> str:
    return b64decode(secret(admin, namespace)["data"]["token"]).decode()


def put(admin: KubeClient, namespace: str, token: str) -> None:
    data = {"token": b64encode(token.encode()).decode(), "other": "b3RoZXI="}
    admin.patch(core_path(namespace, "secrets", "mlflow-token"), {"data": data})


def test_a_token_is_minted_and_kept_while_it_is_fresh_and_then_replaced(
    token: Command, admin: KubeClient, namespace: str
) -> None:
    assert token("refresh", "-o", "json") == 0
    assert json.loads(token.output)["outcome"] == "created"
    first = stored(admin, namespace)
    assert token("refresh", "-o", "json") == 0
    assert json.loads(token.output)["outcome"] == "kept"
    assert stored(admin, namespace) == first
    now = int(time.time())
    put(admin, namespace, jwt(iat=now - 50_000, exp=now + 36_400))
    assert token("refresh") == 0
    assert (
        "renewed (58% of the old one's life had passed); alice@example.com's token expires in 23 h 59 min"
        in token.output
    )
    found = secret(admin, namespace)
    assert found["data"]["other"] == "b3RoZXI="
    assert found["metadata"]["annotations"]["mlflow.kubeflow.org/token-owner"] == USERNAME
    assert "eyJ" not in json.dumps(found["metadata"]["annotations"])


def test_applying_the_component_again_leaves_the_token(
    control_plane: ControlPlane, token: Command, admin: KubeClient, namespace: str
) -> None:
    assert token("refresh") == 0
    before = stored(admin, namespace)
    manifest = (ROOT / "manifests/components/token-refresh/secret.yaml").read_text()
    for how in ([], ["--server-side", "--force-conflicts"]):
        control_plane.kubectl("apply", *how, f"--namespace={namespace}", "--filename=-", stdin=manifest)
    assert stored(admin, namespace) == before


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_mint_leaves_the_old_token_and_says_why_in_one_line(
    fault: str, token: Command, admin: KubeClient, namespace: str
) -> None:
    old = jwt()
    put(admin, namespace, old)
    case = FAULTS[fault]
    token.dex.claims, token.dex.token = case.get("claims", {}), case.get("token")
    token.dex.answers = list(case.get("answers", []))
    options = [f"--audience={case['audience']}"] if "audience" in case else []
    code = token(
        "refresh",
        "--force",
        *options,
        password=case.get("password", PASSWORD),
        client=case.get("client", CLIENT_SECRET),
    )
    assert code == 1
    assert token.output.startswith("Error: Secret ")
    assert token.output.count("\n") == 1
    assert stored(admin, namespace) == old


def test_a_failure_shortly_before_the_expiry_writes_an_event(token: Command, admin: KubeClient, namespace: str) -> None:
    now = int(time.time())
    put(admin, namespace, jwt(iat=now - 80_000, exp=now + 6_400))
    assert token("refresh", "--event", password="planted-but-wrong") == 1
    assert "The token in the Secret expires in 1 h 4" in token.output
    path = core_path(namespace, "events")

    def found() -> list[dict[str, Any]]:
        return [event for event in admin.list(path)["items"] if event["reason"] == "TokenNearItsEnd"]

    wait_until(lambda: bool(found()), "the event")
    assert found()[0]["involvedObject"]["name"] == "mlflow-token"
    assert "planted" not in found()[0]["message"]


def test_the_claims_of_a_token_are_shown_but_not_the_token(token: Command, admin: KubeClient, namespace: str) -> None:
    assert token("refresh") == 0
    assert token("show") == 0
    assert "expires   in 23 h 59 min" in token.output
    assert token("show", "--audience=other", "-o", "json") == 3
    assert json.loads(token.output)["problem"] == "other_audience"
    put(admin, namespace, jwt(exp=int(time.time()) - 7300))
    assert token("show") == 3
    assert "2 h 1 min ago" in token.output
    put(admin, namespace, "planted-rubbish")
    assert token("show") == 3
    assert "not a JSON web token" in token.output


def test_the_role_covers_only_one_secret(
    control_plane: ControlPlane, token: Command, admin: KubeClient, namespace: str
) -> None:
    admin.create(core_path(namespace, "secrets"), {"metadata": {"name": "another"}})
    theirs = control_plane.client(control_plane.service_account(namespace, "mlflow-token-refresh"))
    assert theirs.get(core_path(namespace, "secrets", "mlflow-token"))
    for path in ("secrets/another", "secrets/mlflow-token-credentials", "secrets", "pods", "configmaps", "events"):
        with pytest.raises(KubeForbiddenError):
            theirs.get(core_path(namespace, path))
    with pytest.raises(KubeForbiddenError):
        theirs.create(core_path(namespace, "secrets"), {"metadata": {"name": "more"}})
    with pytest.raises(KubeForbiddenError):
        theirs.get(core_path("default", "secrets", "mlflow-token"))


@pytest.mark.usefixtures("token")
def test_the_jobs_pod_meets_pod_security_restricted(admin: KubeClient, namespace: str) -> None:
    level = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    admin.patch(f"/api/v1/namespaces/{namespace}", level)
    job = yaml.safe_load((ROOT / "manifests" / "components" / "token-refresh" / "cronjob.yaml").read_text())
    template = job["spec"]["jobTemplate"]["spec"]["template"]
    pod = {"metadata": {"name": "refresh", **template["metadata"]}, "spec": template["spec"]}
    dry = {"dryRun": "All"}
    assert admin.create(core_path(namespace, "pods"), pod, params=dry)
    del pod["spec"]["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(KubeForbiddenError, match="restricted"):
        admin.create(core_path(namespace, "pods"), pod, params=dry)


def test_the_secret_is_created_if_it_does_not_exist(
    control_plane: ControlPlane, dex: Dex, admin: KubeClient, namespace: str, tmp_path: Path
) -> None:
    with pytest.raises(KubeNotFoundError):
        secret(admin, namespace)
    command = Command(dex, control_plane.kubeconfig, namespace, tmp_path)
    assert command("refresh") == 0
    assert "created (the Secret had no token)" in command.output
    assert stored(admin, namespace).count(".") == 2
