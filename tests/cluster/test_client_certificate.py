"""The API server authenticates to the webhook, as in docs/security.md. Nobody else may send reviews."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import ROOT, Installation
from tests.cluster.stream import pod, wired
from tests.support.pods import FOLDER, KFP
from tests.support.waiting import DEADLINE
from webhook.cluster.kube import KubeClient, KubeError, core_path


def accepting(name: str, plane: ControlPlane) -> dict[str, str]:
    """Return the settings with which only a client of that name may send reviews."""
    return {
        "MLFLOW_WEBHOOK_CLIENT_CA_FILE": str(plane.webhook_client_ca),
        "MLFLOW_WEBHOOK_CLIENT_NAMES": name,
    }


def test_only_the_api_server_may_send_reviews(
    control_plane: ControlPlane, installed: Installation, admin: KubeClient, ready: str
) -> None:
    (replica,) = installed.start(1, accepting("kube-apiserver", control_plane))
    assert wired(admin, ready)
    url, headers = f"https://127.0.0.1:{replica.port}/mutate", {"content-type": "application/json"}
    with httpx.Client(verify=False, trust_env=False, timeout=DEADLINE) as client:
        made_up = client.post(url, content=(FOLDER / KFP).read_bytes(), headers=headers)
    assert made_up.status_code == 403
    assert replica.ready()


def test_an_api_server_whose_name_is_not_accepted_cannot_call(
    control_plane: ControlPlane, installed: Installation, admin: KubeClient, ready: str
) -> None:
    (replica,) = installed.start(1, accepting("another", control_plane))
    with pytest.raises(KubeError, match="failed calling webhook"):
        admin.create(core_path(ready, "pods"), pod(), params={"dryRun": "All"})
    assert replica.metric("mlflow_webhook_bad_requests_total", status="403") >= 1


def test_the_files_of_the_docs_are_those_of_this_control_plane(control_plane: ControlPlane) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    written = [
        yaml.safe_load(block) for block in re.findall(r"^ *```yaml\n(.+?)^ *```", page, re.DOTALL | re.MULTILINE)
    ]
    admission, kubeconfig = (
        next(found for found in written if found.get("kind") == kind) for kind in ("AdmissionConfiguration", "Config")
    )
    used = yaml.safe_load((control_plane.folder / "admission.yaml").read_text())
    used["plugins"][0]["configuration"]["kubeConfigFile"] = "/etc/kubernetes/webhooks.kubeconfig"
    assert admission == used
    real = yaml.safe_load((control_plane.folder / "webhooks.kubeconfig").read_text())
    assert kubeconfig["users"][0]["user"].keys() == real["users"][0]["user"].keys()
    assert kubeconfig["users"][0]["name"] == "mlflow-webhook.mlflow-webhook.svc"


def test_the_component_mounts_the_file_that_it_names() -> None:
    """The ConfigMap is the user's; its key is the last part of the path."""
    text = Path(ROOT, "manifests", "components", "client-certificate", "deployment.yaml").read_text()
    pod_spec = yaml.safe_load(text)["spec"]["template"]["spec"]
    (container,) = pod_spec["containers"]
    (mount,), (variable,) = container["volumeMounts"], container["env"]
    assert variable["value"] == f"{mount['mountPath']}/ca.crt"
    page = (ROOT / "docs" / "security.md").read_text()
    assert f"create configmap {pod_spec['volumes'][0]['configMap']['name']}" in page
    assert "--from-file=ca.crt=" in page
