"""The control plane of the other tests in this folder, and the client with which the webhook reads the cluster."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.cluster.binaries import KUBERNETES
from tests.cluster.controlplane import ControlPlane
from tests.support.waiting import wait_until
from webhook.cluster.kube import (
    KubeClient,
    KubeConfigError,
    KubeConflictError,
    KubeForbiddenError,
    KubeInvalidError,
    KubeNotFoundError,
    KubeUnavailableError,
    core_path,
)


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": data}


def test_it_is_the_real_api_server(admin: KubeClient) -> None:
    assert admin.get("/version")["gitVersion"] == KUBERNETES


def test_a_service_account_has_only_the_rights_that_it_was_given(control_plane: ControlPlane, namespace: str) -> None:
    client = control_plane.client(control_plane.service_account("default", "default"))
    with pytest.raises(KubeForbiddenError, match="cannot list resource"):
        client.list(core_path(namespace, "secrets"))


def test_a_restarted_api_server_has_its_data_and_accepts_its_earlier_tokens(
    control_plane: ControlPlane, admin: KubeClient, namespace: str
) -> None:
    admin.create(core_path(namespace, "configmaps"), config_map("kept", color="blue"))
    kubeconfig = control_plane.service_account("default", "default")
    control_plane.stop_apiserver()
    try:
        with pytest.raises(KubeUnavailableError):
            admin.get(core_path(namespace, "configmaps", "kept"))
    finally:
        control_plane.start_apiserver()
    assert admin.get(core_path(namespace, "configmaps", "kept"))["data"] == {"color": "blue"}
    with pytest.raises(KubeForbiddenError, match="system:serviceaccount:default:default"):
        control_plane.client(kubeconfig).list(core_path(namespace, "secrets"))


def test_an_api_server_without_etcd_is_not_ready_and_recovers_with_its_data(
    control_plane: ControlPlane, admin: KubeClient, namespace: str
) -> None:
    admin.create(core_path(namespace, "configmaps"), config_map("kept", color="blue"))
    control_plane.stop_etcd()
    try:
        wait_until(lambda: not control_plane.ready(), "the API server to miss etcd")
    finally:
        control_plane.start_etcd()
        wait_until(control_plane.ready, "the API server to recover")
    assert admin.get(core_path(namespace, "configmaps", "kept"))["data"] == {"color": "blue"}


def test_errors_have_types_and_the_servers_message(admin: KubeClient, namespace: str) -> None:
    path = core_path(namespace, "configmaps")
    admin.create(path, config_map("one"))
    with pytest.raises(KubeConflictError, match='configmaps "one" already exists'):
        admin.create(path, config_map("one"))
    with pytest.raises(KubeNotFoundError):
        admin.get(core_path(namespace, "configmaps", "two"))
    with pytest.raises(KubeInvalidError, match="Invalid value"):
        admin.create(path, config_map("NOT A NAME"))


def test_a_server_that_is_not_there_is_unavailable(control_plane: ControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    port = control_plane.url.rpartition(":")[2]
    file.write_text(control_plane.kubeconfig.read_text().replace(f":{port}", ":1"))
    with pytest.raises(KubeUnavailableError, match="connection refused"):
        control_plane.client(file).get("/version")


def test_a_missing_or_invalid_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match="nowhere"):
        KubeClient.from_environment(kubeconfig=str(tmp_path / "nowhere"))
    broken = tmp_path / "broken"
    broken.write_text("{}")
    with pytest.raises(KubeConfigError, match="broken"):
        KubeClient.from_environment(kubeconfig=str(broken))


def test_warnings_of_the_server_are_passed_on(admin: KubeClient, namespace: str) -> None:
    warnings: list[str] = []
    pod = {
        "metadata": {"name": "w"},
        "spec": {
            "containers": [
                {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}
            ]
        },
    }
    admin.create(core_path(namespace, "pods"), pod, params={"dryRun": "All"}, on_warning=warnings.append)
    assert "hides previous definition" in warnings[0]


def test_a_watch_gives_events_and_ends_when_it_is_closed(admin: KubeClient, namespace: str) -> None:
    path = core_path(namespace, "configmaps")
    version = admin.list(path)["metadata"]["resourceVersion"]
    admin.create(path, config_map("seen"))
    watch = admin.watch(path, resource_version=version, metadata_only=True, seconds=600, silence=600)
    seen = []
    for event in watch:  # it would go on for longer than a test may take
        seen.append((event.type, event.object["metadata"]["name"]))
        if seen[-1] == ("ADDED", "seen"):
            threading.Timer(0.5, watch.close).start()
    assert ("ADDED", "seen") in seen
