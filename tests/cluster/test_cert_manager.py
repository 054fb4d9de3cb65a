from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.certmanager import CertManager
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import CONFIGURATION, NAMESPACE, Installation
from tests.cluster.stream import Stream, wired
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, KubeNotFoundError, core_path

SECRET = core_path(NAMESPACE, "secrets", "mlflow-webhook-tls")


@pytest.fixture
def by_cert_manager(control_plane: ControlPlane, cert_manager: CertManager) -> Iterator[Installation]:
    installation = Installation(control_plane, "cert-manager")
    try:
        installation.install()
        yield installation
    finally:
        installation.remove()


def issued(admin: KubeClient, secret: str = SECRET) -> dict[str, str]:
    """Return what cert-manager has put into a Secret, empty before it has."""
    try:
        found: dict[str, str] = admin.get(secret).get("data") or {}
    except KubeNotFoundError:
        return {}
    return found if {"tls.crt", "tls.key", "ca.crt"} <= found.keys() else {}


def mount(data: dict[str, str], folder: Path) -> None:
    """Write a Secret's keys as files, as the kubelet does."""
    for name, value in data.items():
        (folder / name).write_bytes(b64decode(value))


def test_cert_manager_provides_and_renews_the_certificate_and_writes_the_ca_bundle(
    by_cert_manager: Installation, admin: KubeClient, ready: str, tmp_path: Path
) -> None:
    wait_until(lambda: bool(issued(admin)), "cert-manager to issue the certificate")
    first = issued(admin)
    mount(first, tmp_path)
    files = {"MLFLOW_WEBHOOK_CERTIFICATES": "files", "MLFLOW_WEBHOOK_CERTIFICATE_DIRECTORY": str(tmp_path)}
    (replica,) = by_cert_manager.start(1, files)
    wait_until(lambda: wired(admin, ready), "pods to be wired")
    bundles = {entry["clientConfig"]["caBundle"] for entry in admin.get(CONFIGURATION)["webhooks"]}
    assert bundles == {first["ca.crt"]}
    with Stream(admin, ready) as stream:
        admin.delete(SECRET)
        wait_until(lambda: issued(admin).get("tls.crt", first["tls.crt"]) != first["tls.crt"], "another certificate")
        mount(issued(admin), tmp_path)
        wait_until(lambda: len(replica.events("certificate in service")) == 2, "it to be served")
        wait_until(lambda: stream.calls > 100, "some calls more")
    assert stream.failures == []
    assert issued(admin)["ca.crt"] == first["ca.crt"]
