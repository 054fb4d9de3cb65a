"""Pods on the real API server, sent to the webhook by the configuration that we ship."""

from __future__ import annotations

import copy
import json
from functools import partial
from typing import Any

import jsonpatch
import pytest

from tests.cluster.created import TRAINJOBS, environments, has_accounts, pods_of, simple, trainjob, variables
from tests.cluster.installation import Installation
from tests.cluster.other_webhook import OtherWebhook
from tests.cluster.trainer import Trainer
from tests.support.pods import KFP, SAMPLES, TRAINJOB, plain
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, KubeInvalidError, core_path, group_path
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod

NEVER_CALLED = [name for name in SAMPLES if any(part in name for part in ("driver", "importer", "initializer"))]


@pytest.fixture(scope="module", autouse=True)
def replicas(installation: Installation) -> None:
    installation.start(1)


def expected(document: dict[str, Any], namespace: str, *, enabled: bool) -> dict[str, Any]:
    seen = decode_pod(json.dumps(document).encode())
    labels = {"mlflow-enabled": "true"} if enabled else {}
    decision = decide(seen, namespace=Namespace(namespace, labels, {}), platform=Platform())
    result: dict[str, Any] = jsonpatch.apply_patch(document, patch(seen, decision))
    return result


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_captured_pod_comes_back_as_the_core_says(
    sample: str, admin: KubeClient, labelled: str, installation: Installation
) -> None:
    calls = installation.decisions()
    document = plain(sample)
    created = admin.create(core_path(labelled, "pods"), document)
    assert environments(created) == environments(expected(document, labelled, enabled=True))
    assert (installation.decisions() == calls) is (sample in NEVER_CALLED)


@pytest.mark.parametrize("sample", [KFP, TRAINJOB, *NEVER_CALLED[:2]])
def test_the_webhook_is_not_called_for_an_unlabelled_namespace(
    sample: str, admin: KubeClient, namespace: str, installation: Installation
) -> None:
    calls = installation.decisions()
    document = plain(sample)
    created = admin.create(core_path(namespace, "pods"), document)
    assert environments(created) == environments(document)
    assert installation.decisions() == calls


@pytest.mark.parametrize("namespace_labelled", [True, False])
@pytest.mark.parametrize("label", ["true", "false", "yes", None])
@pytest.mark.parametrize("kind", ["kfp", "other"])
def test_pods_are_wired_as_in_the_readmes_table(
    kind: str, label: str | None, namespace_labelled: bool, admin: KubeClient, labelled: str, namespace: str
) -> None:
    document = plain(KFP) if kind == "kfp" else simple()
    if label:
        document["metadata"]["labels"]["mlflow-enabled"] = label
    created = admin.create(core_path(labelled if namespace_labelled else namespace, "pods"), document)
    container = "main" if kind == "kfp" else "c"
    wired = "MLFLOW_TRACKING_URI" in variables(created, container)
    by_namespace = namespace_labelled and kind == "kfp" and label != "false"
    assert wired is (label == "true" or by_namespace)
    if wired:
        assert ("MLFLOW_WORKSPACE" in variables(created, container)) is namespace_labelled


def test_a_pod_created_a_moment_after_its_namespace_was_labelled_is_wired(admin: KubeClient) -> None:
    for number in range(100):
        name = f"moment-{number}"
        admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        admin.patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": {"mlflow-enabled": "true"}}})
        wait_until(partial(has_accounts, admin, name), "the service account", every=0.02)
        created = admin.create(core_path(name, "pods"), plain(KFP))
        assert variables(created, "main")[:2] == ["MLFLOW_TRACKING_URI", "MLFLOW_WORKSPACE"]


def test_every_pod_that_the_api_server_sends_because_of_a_new_label_is_wired(
    admin: KubeClient, namespace: str, installation: Installation
) -> None:
    """The API server itself takes some milliseconds to see a label. From its first call on the answer must be right."""
    path = f"/api/v1/namespaces/{namespace}"
    wait_until(lambda: has_accounts(admin, namespace), "the service account")
    for _ in range(50):
        admin.patch(path, {"metadata": {"labels": {"mlflow-enabled": "true"}}})
        calls = installation.decisions()
        for _ in range(50):
            created = admin.create(core_path(namespace, "pods"), plain(KFP), params={"dryRun": "All"})
            if installation.decisions() > calls:
                break
        assert "MLFLOW_WORKSPACE" in variables(created, "main")
        admin.patch(path, {"metadata": {"labels": {"mlflow-enabled": None}}})


def test_a_dry_run_gets_the_same_answer_and_stores_nothing(admin: KubeClient, labelled: str) -> None:
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    path = core_path(labelled, "pods")
    dry = admin.create(path, plain(KFP), params={"dryRun": "All"})
    assert admin.list(path)["items"] == []
    assert environments(admin.create(path, plain(KFP))) == environments(dry)


def test_annotations_decide_and_wrong_ones_get_a_warning(admin: KubeClient, labelled: str) -> None:
    path = f"/api/v1/namespaces/{labelled}"
    admin.patch(path, {"metadata": {"annotations": {"mlflow.kubeflow.org/experiment": "ours"}}})
    document = plain(KFP)
    document["metadata"]["annotations"]["mlflow.kubeflow.org/token-secret"] = "NOT/A/NAME"
    said: list[str] = []

    def wired() -> bool:
        created = admin.create(core_path(labelled, "pods"), document, params={"dryRun": "All"}, on_warning=said.append)
        return ("MLFLOW_EXPERIMENT_NAME", '"ours"') in environments(created)["main"]

    wait_until(wired, "the annotation to be known")
    assert "mlflow.kubeflow.org/token-secret" in said[-1]


@pytest.mark.parametrize(
    ("label", "annotation", "optional"),
    [("true", None, False), (None, None, True), ("true", "true", True), (None, "false", False)],
    ids=["asks", "does not ask", "asks, and may start without", "does not ask, and must have it"],
)
def test_the_created_pod_says_whether_it_waits_for_a_secret_that_is_missing(
    label: str | None, annotation: str | None, optional: bool, admin: KubeClient, labelled: str
) -> None:
    """The kubelet holds a pod whose Secret is missing until it exists, unless the reference is optional."""
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    assert not any(
        secret["metadata"]["name"] == "mlflow-token" for secret in admin.list(core_path(labelled, "secrets"))["items"]
    )
    document = plain(TRAINJOB)
    document["metadata"]["annotations"]["mlflow.kubeflow.org/client-plugin"] = "true"
    if label:
        document["metadata"]["labels"]["mlflow-enabled"] = label
    if annotation:
        document["metadata"]["annotations"]["mlflow.kubeflow.org/token-optional"] = annotation
    admin.create(core_path(labelled, "pods"), document)
    spec = admin.get(core_path(labelled, "pods", document["metadata"]["name"]))["spec"]
    (token,) = [entry for entry in spec["containers"][0]["env"] if entry["name"] == "MLFLOW_TRACKING_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "mlflow-token", "key": "token", "optional": optional}}
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "mlflow-webhook-client-plugin"]
    (secret,) = [source["secret"] for source in volume["projected"]["sources"] if "secret" in source]
    assert secret == {"name": "mlflow-token", "items": [{"key": "token", "path": "token"}], "optional": optional}


@pytest.mark.parametrize("name", ["a-first", "z-last"])
def test_another_webhook_may_add_variables(
    name: str, admin: KubeClient, labelled: str, other_webhook: OtherWebhook
) -> None:
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    with other_webhook.registered(admin, name, labelled):
        created = admin.create(core_path(labelled, "pods"), plain(KFP))
    names = variables(created, "main")
    assert len(names) == len(set(names))
    assert {"THEIRS", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"} <= set(names)
    experiment = dict(environments(created)["main"])["MLFLOW_EXPERIMENT_NAME"]
    assert (experiment == '"theirs"') is (
        name == "a-first"
    )  # the first webhook's variable is not changed by the second


def node_value(document: dict[str, Any], name: str) -> str:
    container = next(container for container in document["spec"]["containers"] if container["name"] == "node")
    return str(next(entry["value"] for entry in container["env"] if entry["name"] == name))


@pytest.mark.parametrize("nodes", [1, 2])
def test_an_unmodified_trainjob_is_wired_on_every_node(
    nodes: int, trainer: Trainer, admin: KubeClient, labelled: str
) -> None:
    body = trainjob("finetune", trainer={"numNodes": nodes})
    admin.create(group_path(TRAINJOBS, "trainjobs", namespace=labelled), body)
    for document in pods_of(admin, labelled, nodes):
        assert node_value(document, "MLFLOW_WORKSPACE") == labelled
        assert node_value(document, "MLFLOW_EXPERIMENT_NAME") == "finetune"
        assert json.loads(node_value(document, "MLFLOW_RUN_CONTEXT"))["trainjob.name"] == "finetune"


def test_initializers_are_not_wired(trainer: Trainer, admin: KubeClient, labelled: str) -> None:
    body = trainjob("tune", runtimeRef={"name": "torchtune-llama3.2-1b"})
    body["spec"]["initializer"] = {
        "dataset": {"storageUri": "hf://tatsu-lab/alpaca"},
        "model": {"storageUri": "hf://meta-llama/Llama-3.2-1B-Instruct"},
    }
    admin.create(group_path(TRAINJOBS, "trainjobs", namespace=labelled), body)
    for document in pods_of(admin, labelled, 2):
        assert not any(name.startswith("MLFLOW") for env in environments(document).values() for name, _ in env)


def test_the_launcher_and_the_nodes_of_an_mpi_job_are_wired(trainer: Trainer, admin: KubeClient, labelled: str) -> None:
    body = trainjob("mpi", runtimeRef={"name": "deepspeed-distributed"}, trainer={"numNodes": 2})
    admin.create(group_path(TRAINJOBS, "trainjobs", namespace=labelled), body)
    for document in pods_of(admin, labelled, 1):
        # There is no kubelet to say that the nodes are ready, for which the launcher waits.
        status = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        admin.patch(core_path(labelled, "pods", document["metadata"]["name"]) + "/status", status)
    documents = pods_of(admin, labelled, 2)
    jobs = {document["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"] for document in documents}
    assert jobs == {"launcher", "node"}
    assert all(node_value(document, "MLFLOW_EXPERIMENT_NAME") == "mpi" for document in documents)


def test_a_custom_runtime_whose_job_has_another_name_is_wired(
    trainer: Trainer, admin: KubeClient, labelled: str
) -> None:
    runtime = admin.get(group_path(TRAINJOBS, "clustertrainingruntimes", "torch-distributed"))
    spec = copy.deepcopy(runtime["spec"])
    spec["template"]["spec"]["replicatedJobs"][0]["name"] = "worker"
    admin.create(
        group_path(TRAINJOBS, "trainingruntimes", namespace=labelled),
        {
            "apiVersion": TRAINJOBS,
            "kind": "TrainingRuntime",
            "metadata": {"name": "custom", "labels": {"trainer.kubeflow.org/framework": "torch"}},
            "spec": spec,
        },
    )
    body = trainjob("own", runtimeRef={"name": "custom", "kind": "TrainingRuntime"})
    admin.create(group_path(TRAINJOBS, "trainjobs", namespace=labelled), body)
    (document,) = pods_of(admin, labelled, 1)
    assert document["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"] == "worker"
    assert node_value(document, "MLFLOW_EXPERIMENT_NAME") == "own"


def test_a_label_by_runtimepatches_is_enough_without_a_namespaces_label(
    trainer: Trainer, admin: KubeClient, namespace: str
) -> None:
    body = trainjob("asks")
    template = {"spec": {"template": {"metadata": {"labels": {"mlflow-enabled": "true"}}}}}
    body["spec"]["runtimePatches"] = [
        {
            "manager": "example.org/us",
            "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [{"name": "node", "template": template}]}}},
        }
    ]
    admin.create(group_path(TRAINJOBS, "trainjobs", namespace=namespace), body)
    (document,) = pods_of(admin, namespace, 1)
    assert node_value(document, "MLFLOW_TRACKING_URI")
    assert Reason.WIRED_BY_POD_LABEL in document["metadata"]["annotations"]["mlflow.kubeflow.org/decision"]


def test_a_native_sidecar_is_left_alone(admin: KubeClient, labelled: str) -> None:
    wait_until(lambda: has_accounts(admin, labelled), "the service account")
    document = plain(TRAINJOB)
    document["spec"].setdefault("initContainers", []).append({"name": "proxy", "image": "i", "restartPolicy": "Always"})
    created = admin.create(core_path(labelled, "pods"), document)
    assert not any(name.startswith("MLFLOW") for name in variables(created, "proxy"))
    assert "MLFLOW_TRACKING_URI" in variables(created, "node")


def test_the_api_server_refuses_a_body_that_is_not_a_pod(admin: KubeClient, labelled: str) -> None:
    with pytest.raises(KubeInvalidError):
        admin.create(core_path(labelled, "pods"), {"metadata": {"name": "p"}, "spec": {"containers": []}})


def test_a_mirror_pod_that_carries_the_label_is_admitted_without_a_call(
    admin: KubeClient, labelled: str, installation: Installation
) -> None:
    calls = installation.decisions()
    mirror = {
        "metadata": {
            "name": "static-node1",
            "labels": {"mlflow-enabled": "true"},
            "annotations": {"kubernetes.io/config.mirror": "4f1ad59b", "kubernetes.io/config.hash": "4f1ad59b"},
        },
        "spec": {"nodeName": "node1", "containers": [{"name": "c", "image": "i"}]},
    }
    created = admin.create(core_path(labelled, "pods"), mirror)
    assert "env" not in created["spec"]["containers"][0]
    assert installation.decisions() == calls
