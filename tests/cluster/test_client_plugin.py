"""The client plugin in pods on the real API server."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.cluster.created import TRAINJOBS, has_accounts, pods_of, simple, trainjob, variables
from tests.cluster.installation import Installation
from tests.cluster.other_webhook import OtherWebhook
from tests.cluster.trainer import Trainer
from tests.support.kubelet import projected_files
from tests.support.pods import KFP, TRAINJOB, plain
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, KubeForbiddenError, core_path, group_path
from webhook.core.client_plugin import MOUNT_PATH, VARIABLES, VOLUME
from webhook.plugin import load_plugin

MOUNT = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
PLUGIN = {"mlflow.kubeflow.org/client-plugin": "true"}


@pytest.fixture(scope="module", autouse=True)
def replicas(installation: Installation) -> None:
    installation.start(1)


def without_plugin(created: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of a pod without the client plugin's parts; raise if one of them is missing."""
    spec: dict[str, Any] = copy.deepcopy(created["spec"])
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == VOLUME]
    spec["volumes"].remove(volume)
    for container in spec["containers"]:
        if MOUNT in container.get("volumeMounts", ()):
            container["volumeMounts"].remove(MOUNT)
            for entry in [entry for entry in container["env"] if entry["name"] in VARIABLES]:
                container["env"].remove(entry)
    return spec


@pytest.mark.parametrize(("sample", "container"), [(KFP, "main"), (TRAINJOB, "node")], ids=["kfp", "trainjob"])
def test_the_client_plugin_comes_as_one_volume_and_the_rest_of_the_pod_stays(
    sample: str, container: str, admin: KubeClient, labelled: str
) -> None:
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    document, path = plain(sample), core_path(labelled, "pods")
    document["spec"].pop("volumes", None)  # the service account's volume has another name each time
    for part in (*document["spec"]["containers"], *document["spec"].get("initContainers", ())):
        part.pop("volumeMounts", None)
    document["spec"]["automountServiceAccountToken"] = False
    without = admin.create(path, document, params={"dryRun": "All"})
    document["metadata"]["annotations"].update(PLUGIN)
    created = admin.create(path, document)
    before, after = copy.deepcopy(without["spec"]), without_plugin(created)
    before.setdefault("volumes", [])
    next(part for part in before["containers"] if part["name"] == container).setdefault("volumeMounts", [])
    assert after == before
    mounted = [part["name"] for part in created["spec"]["containers"] if MOUNT in part.get("volumeMounts", ())]
    assert mounted == [container]
    assert not any(MOUNT in part.get("volumeMounts", ()) for part in created["spec"].get("initContainers", ()))
    files = projected_files(created, VOLUME, secrets={})
    assert {name.removeprefix("python/") for name in files} == {*load_plugin().files, "wiring.json"}


def test_the_client_plugin_meets_the_pod_security_standard_restricted(admin: KubeClient, labelled: str) -> None:
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    admin.patch(f"/api/v1/namespaces/{labelled}", {"metadata": {"labels": enforce}})
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    document = simple(annotations=PLUGIN)
    document["metadata"]["labels"] = {"mlflow-enabled": "true"}
    container = document["spec"]["containers"][0]
    with pytest.raises(KubeForbiddenError):
        admin.create(core_path(labelled, "pods"), document)
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    created = admin.create(core_path(labelled, "pods"), document)
    assert MOUNT in created["spec"]["containers"][0]["volumeMounts"]
    (volume,) = [volume for volume in created["spec"]["volumes"] if volume["name"] == VOLUME]
    assert volume["projected"]["sources"][1]["secret"]["optional"] is False


@pytest.mark.parametrize("name", ["a-first", "z-last"])
def test_the_client_plugin_is_added_once_when_another_webhook_runs_too(
    name: str, admin: KubeClient, labelled: str, other_webhook: OtherWebhook
) -> None:
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    document = plain(KFP)
    document["metadata"]["annotations"].update(PLUGIN)
    with other_webhook.registered(admin, name, labelled):
        created = admin.create(core_path(labelled, "pods"), document)
    assert "THEIRS" in variables(created, "main")
    assert without_plugin(created)["containers"]
    (main,) = [part for part in created["spec"]["containers"] if part["name"] == "main"]
    assert [mount["name"] for mount in main["volumeMounts"]].count(VOLUME) == 1


def test_the_nodes_of_a_trainjob_have_the_client_plugin_of_their_namespace(
    trainer: Trainer, admin: KubeClient, labelled: str
) -> None:
    admin.patch(f"/api/v1/namespaces/{labelled}", {"metadata": {"annotations": PLUGIN}})
    wait_until(lambda: has_accounts(admin, labelled), "the service account")

    def known() -> bool:
        created = admin.create(core_path(labelled, "pods"), plain(KFP), params={"dryRun": "All"})
        return "PYTHONPATH" in variables(created, "main")

    wait_until(known, "the annotation to be known")
    body = trainjob("long", trainer={"numNodes": 2})
    admin.create(group_path(TRAINJOBS, "trainjobs", namespace=labelled), body)
    for document in pods_of(admin, labelled, 2):
        assert json.loads(projected_files(document, VOLUME, secrets={})["wiring.json"])["experiment"] == "long"
        assert "PYTHONPATH" not in {entry["name"] for entry in without_plugin(document)["containers"][0]["env"]}
