"""The manifests, installed as users install them: elsewhere, in another way, again and again."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.cluster.certmanager import CertManager
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import Installation, write_overlay
from tests.cluster.stream import wired
from tests.cluster.test_cert_manager import issued
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, core_path, group_path
from webhook.doctor.findings import Finding, Status
from webhook.doctor.installation import check_installation

CONFIGURATIONS = "admissionregistration.k8s.io/v1"
OVERLAYS = ["self-signed", "cert-manager"]


@pytest.fixture(params=["", "acme-"], ids=["name", "another-name"])
def elsewhere(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The webhook in another namespace, also with a namePrefix."""
    installation = Installation(control_plane, namespace=f"{request.param}platform-system", prefix=request.param)
    try:
        installation.install()
        yield installation
    finally:
        installation.remove()


def findings(installation: Installation, namespace: str) -> dict[str, Finding]:
    found = check_installation(installation.admin, now=datetime.now(UTC), namespace=namespace)
    return {finding.check: finding for finding in found}


def test_an_overlay_with_another_namespace_or_name_works(elsewhere: Installation, ready: str) -> None:
    elsewhere.start()
    wait_until(lambda: wired(elsewhere.admin, ready), "pods to be wired")
    assert elsewhere.admin.get(core_path(elsewhere.namespace, "secrets", "mlflow-webhook-ca"))


def test_check_finds_an_installation_with_another_namespace_or_name(elsewhere: Installation, ready: str) -> None:
    elsewhere.plane.kubectl("delete", "mutatingwebhookconfiguration", elsewhere.name)
    elsewhere.plane.kubectl("apply", f"--kustomize={elsewhere.folder / 'overlay'}")  # with the Service, not the URL
    found = findings(elsewhere, ready)
    assert found["webhook-configuration"].status is Status.PASSED
    assert found["webhook-entries"].status is Status.PASSED
    assert found["webhook-replicas"].code == "no_replica_ready"
    assert found["webhook-replicas"].remedy == (
        f"kubectl logs --namespace {elsewhere.namespace} deployment/{elsewhere.name}"
    )


def test_pods_of_the_webhooks_own_namespace_are_not_sent(elsewhere: Installation) -> None:
    pod = {
        "metadata": {"generateName": "own-", "labels": {"mlflow-enabled": "true"}},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": "main",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    wait_until(lambda: bool(elsewhere.admin.list(core_path(elsewhere.namespace, "serviceaccounts"))["items"]), "it")
    assert elsewhere.admin.create(core_path(elsewhere.namespace, "pods"), pod, params={"dryRun": "All"})


def test_cert_manager_certifies_an_installation_with_another_namespace_and_name(
    control_plane: ControlPlane, cert_manager: CertManager, admin: KubeClient, tmp_path: Path
) -> None:
    write_overlay(tmp_path, "cert-manager", namespace="certified", namePrefix="acme-")
    text = control_plane.kubectl("kustomize", tmp_path)
    path = group_path(CONFIGURATIONS, "mutatingwebhookconfigurations", "acme-mlflow-webhook")
    secret = core_path("certified", "secrets", "mlflow-webhook-tls")
    try:
        control_plane.kubectl("apply", "--filename=-", stdin=text)
        wait_until(lambda: bool(issued(admin, secret)), "cert-manager to issue the certificate")
        ca = issued(admin, secret)["ca.crt"]

        def bundles() -> set[str]:
            return {entry["clientConfig"].get("caBundle", "") for entry in admin.get(path)["webhooks"]}

        wait_until(lambda: bundles() == {ca}, "the caBundle")
        leaf = x509.load_pem_x509_certificate(b64decode(issued(admin, secret)["tls.crt"]))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        service = admin.get(path)["webhooks"][0]["clientConfig"]["service"]
        assert f"{service['name']}.{service['namespace']}.svc" in names.get_values_for_type(x509.DNSName)
    finally:
        control_plane.kubectl("delete", "mutatingwebhookconfiguration", "acme-mlflow-webhook", "--ignore-not-found")


def said(output: str) -> dict[str, str]:
    """Return what kubectl apply says of each object."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in output.splitlines()}


@pytest.mark.parametrize("components", [[], ["host-network", "client-certificate"]], ids=["plain", "components"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_client_side_and_server_side_apply_change_nothing_and_never_conflict(
    control_plane: ControlPlane, cert_manager: CertManager, tmp_path: Path, overlay: str, components: list[str]
) -> None:
    name = f"{overlay}-{len(components)}"
    write_overlay(tmp_path, overlay, *components, namespace=name, namePrefix=f"{name}-")
    unchanged_by_apply(control_plane, tmp_path, delete=f"mutatingwebhookconfiguration/{name}-mlflow-webhook")


def test_the_token_component_can_be_applied_in_both_ways(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    write_overlay(tmp_path, "", "token-refresh", namespace=namespace)
    unchanged_by_apply(control_plane, tmp_path)


def unchanged_by_apply(plane: ControlPlane, folder: Path, delete: str = "") -> None:
    """Apply client-side, server-side, and client-side again. Only the first time may an object change."""

    def apply(*flags: str) -> dict[str, str]:
        return said(plane.kubectl("apply", *flags, f"--kustomize={folder}"))

    def versions() -> dict[str, str]:
        text = plane.kubectl("get", f"--kustomize={folder}", "--output=yaml", "--show-managed-fields=false")
        items: list[dict[str, Any]] = yaml.safe_load(text)["items"]
        return {f"{item['kind']} {item['metadata']['name']}": item["metadata"].get("generation", 0) for item in items}

    try:
        created = apply()
        assert set(created.values()) == {"created"}
        before = versions()
        assert set(apply("--server-side").values()) == {"serverside-applied"}
        again = apply()
        # kubectl sends a PodDisruptionBudget's selector each time, and prints "configured" even if nothing changes.
        assert {name for name, what in again.items() if what != "unchanged"} <= {
            name for name in again if name.startswith("poddisruptionbudget")
        }
        assert versions() == before
    finally:
        if delete:
            plane.kubectl("delete", delete, "--ignore-not-found")


@pytest.mark.parametrize("components", [["host-network"], []], ids=["component", "without"])
def test_pod_security_allows_the_hosts_network_only_with_the_component(
    control_plane: ControlPlane, admin: KubeClient, tmp_path: Path, components: list[str]
) -> None:
    name = f"host-{len(components)}"
    patch = yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "mlflow-webhook"},
            "spec": {"template": {"spec": {"hostNetwork": True}}},
        }
    )
    write_overlay(
        tmp_path, "self-signed", *components, namespace=name, namePrefix=f"{name}-", patches=[{"patch": patch}]
    )
    control_plane.kubectl("apply", f"--kustomize={tmp_path}")
    control_plane.kubectl("delete", f"mutatingwebhookconfiguration/{name}-mlflow-webhook")

    def pods() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = admin.list(core_path(name, "pods"))["items"]
        return items

    def refusals() -> list[str]:
        events = admin.list(core_path(name, "events"))["items"]
        return [event["message"] for event in events if "violates PodSecurity" in event.get("message", "")]

    if components:
        wait_until(lambda: len(pods()) == 2, "both replicas' pods")
        spec = pods()[0]["spec"]
        assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
        assert [port["hostPort"] for port in spec["containers"][0]["ports"]] == [8443]
        assert refusals() == []
    else:
        wait_until(lambda: bool(refusals()), "Pod Security to refuse them")
        assert pods() == []
