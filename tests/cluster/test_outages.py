"""The API server or etcd stops and comes back."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.issue import KeyPair, issue_ca, issue_leaf
from tests.cluster.controlplane import ControlPlane, encoded
from tests.cluster.installation import EXPLICIT, SHORT, Installation
from tests.cluster.stream import implied, pod, wired
from tests.support.pods import KFP, review
from tests.support.pods import pod as captured
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, KubeError, KubeUnavailableError, core_path


def test_known_namespaces_are_wired_and_certificates_renewed_while_etcd_is_away(
    control_plane: ControlPlane, installed: Installation, admin: KubeClient, ready: str
) -> None:
    (replica,) = installed.start(1, SHORT)
    document = review(KFP)
    document["request"]["namespace"] = ready
    body = json.dumps(document).encode()
    assert replica.review(body)["auditAnnotations"]["decision"] == "wired"
    renewals = replica.metric("mlflow_webhook_certificate_renewals_total")
    control_plane.stop_etcd()
    try:
        wait_until(lambda: replica.metric("mlflow_webhook_certificate_renewals_total") > renewals, "a renewal")
        assert replica.ready()
        assert replica.review(body)["auditAnnotations"]["decision"] == "wired"
        wait_until(lambda: replica.metric("mlflow_webhook_certificate_failures_total") >= 1, "a failure")
        wait_until(lambda: bool(replica.events("certificate upkeep failed")), "its line")
    finally:
        control_plane.start_etcd()
        wait_until(control_plane.ready, "the API server to recover")
    wait_until(lambda: wired(admin, ready), "pods to be wired again")


def test_an_api_server_that_lost_its_old_versions_is_followed_again(
    control_plane: ControlPlane, installed: Installation, admin: KubeClient, ready: str
) -> None:
    """The new API server no longer has the watch's last version: it answers 410, and a new list follows."""
    (replica,) = installed.start(1)
    control_plane.stop_apiserver()
    control_plane.compact()
    control_plane.start_apiserver()

    def listed_again() -> bool:
        return len([line for line in replica.events("listed") if line["path"] == "/api/v1/namespaces"]) >= 2

    wait_until(listed_again, "the namespaces to be listed again")
    assert replica.metric("mlflow_webhook_namespace_watch_restarts_total") >= 1
    experiment = "given-afterwards"
    annotations = {"mlflow.kubeflow.org/experiment": experiment}
    admin.patch(f"/api/v1/namespaces/{ready}", {"metadata": {"annotations": annotations}})

    def known() -> bool:
        try:
            created = admin.create(core_path(ready, "pods"), pod(), params={"dryRun": "All"})
        except KubeError:
            return False
        return any(entry.get("value") == experiment for entry in created["spec"]["containers"][0].get("env", []))

    wait_until(known, "a change of the namespace to be known")


def test_without_the_webhook_implied_pods_are_created_unwired_and_explicit_ones_refused(
    installed: Installation, admin: KubeClient, ready: str
) -> None:
    installed.stop(*installed.start(1))
    component = captured(KFP)
    component = {
        "metadata": {"name": "implied", "labels": component["metadata"]["labels"]},
        "spec": {"containers": component["spec"]["containers"], "initContainers": component["spec"]["initContainers"]},
    }
    for container in component["spec"]["containers"] + component["spec"]["initContainers"]:
        container.pop("volumeMounts", None)
    created = admin.create(core_path(ready, "pods"), component)
    assert not any(
        entry["name"].startswith("MLFLOW") for container in created["spec"]["containers"] for entry in container["env"]
    )
    with pytest.raises(KubeUnavailableError, match=f'failed calling webhook "{EXPLICIT}"'):
        admin.create(core_path(ready, "pods"), pod())


@pytest.fixture
def certificate() -> tuple[KeyPair, KeyPair]:
    now, lifetime = datetime.now(UTC), timedelta(days=1)
    ca = issue_ca(common_name="somebody else's", lifetime=lifetime, now=now)
    return ca, issue_leaf(ca, dns_names=["x"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=now)


def _write(folder: Path, leaf: KeyPair) -> None:
    (folder / "tls.key").write_bytes(leaf.private_key_pem)
    (folder / "tls.crt").write_bytes(leaf.certificate_pem)


def test_a_webhook_that_cannot_read_the_namespace_refuses_only_pods_with_their_own_label(
    control_plane: ControlPlane,
    installed: Installation,
    admin: KubeClient,
    ready: str,
    certificate: tuple[KeyPair, KeyPair],
    tmp_path: Path,
) -> None:
    """It has its certificate from files here, and an API server that never answers."""
    ca, leaf = certificate
    _write(tmp_path, leaf)
    lost = tmp_path / "kubeconfig"
    port = control_plane.url.rpartition(":")[2]
    lost.write_text(installed.kubeconfig.read_text().replace(f"127.0.0.1:{port}", "127.0.0.1:1"))
    installed.call_with("caBundle", encoded(ca.certificate_pem))
    files = {"MLFLOW_WEBHOOK_CERTIFICATES": "files", "MLFLOW_WEBHOOK_CERTIFICATE_DIRECTORY": str(tmp_path)}
    replica = installed.launch(files, kubeconfig=lost)
    checks = replica.get("/readyz").json()["checks"]
    assert checks["namespaces"] == "the namespaces have not been listed yet"
    installed.call_with("url", f"https://127.0.0.1:{replica.port}/mutate")  # the balancer calls ready replicas only

    def refusal() -> KubeError | None:
        try:
            admin.create(core_path(ready, "pods"), pod(), params={"dryRun": "All"})
        except KubeError as error:
            return error
        return None

    wait_until(lambda: "cannot be read now; retry" in str(refusal()), "the webhook's own words")
    refused = refusal()
    assert refused
    assert refused.status == 429
    assert ready in refused.message
    created = admin.create(core_path(ready, "pods"), implied(), params={"dryRun": "All"})
    assert "namespace_lookup_failed" in created["metadata"]["annotations"]["mlflow.kubeflow.org/decision"]


def test_a_certificate_from_files_is_served_and_replaced_when_the_files_change(
    installed: Installation, admin: KubeClient, ready: str, certificate: tuple[KeyPair, KeyPair], tmp_path: Path
) -> None:
    ca, leaf = certificate
    _write(tmp_path, leaf)
    installed.call_with("caBundle", encoded(ca.certificate_pem))
    files = {"MLFLOW_WEBHOOK_CERTIFICATES": "files", "MLFLOW_WEBHOOK_CERTIFICATE_DIRECTORY": str(tmp_path)}
    (replica,) = installed.start(1, files)
    wait_until(lambda: wired(admin, ready), "pods to be wired")
    now = datetime.now(UTC)
    renewed = issue_leaf(ca, dns_names=["x"], ip_addresses=["127.0.0.1"], lifetime=timedelta(hours=2), now=now)
    (tmp_path / "tls.key").write_text("rubbish, for a moment")
    time.sleep(6)
    assert wired(admin, ready)
    _write(tmp_path, renewed)
    wait_until(lambda: len(replica.events("certificate in service")) == 2, "the new certificate")
    assert wired(admin, ready)
