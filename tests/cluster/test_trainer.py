from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.trainer import Trainer
from tests.support.pods import TRAINJOB
from tests.support.pods import pod as captured
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, core_path, group_path
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import Decision, decide
from webhook.core.review import decode_pod
from webhook.files.documents import find


def pods_of_a_trainjob(admin: KubeClient, namespace: str, *, nodes: int) -> list[dict[str, Any]]:
    job = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": nodes}},
    }
    admin.create(group_path("trainer.kubeflow.org/v1alpha1", "trainjobs", namespace=namespace), job)
    path = core_path(namespace, "pods")
    wait_until(lambda: len(admin.list(path)["items"]) == nodes, f"the pods of {nodes} nodes")
    found: list[dict[str, Any]] = admin.list(path)["items"]
    return found


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_real_controllers_make_one_pod_for_each_node_of_a_trainjob(
    trainer: Trainer, admin: KubeClient, namespace: str, nodes: int
) -> None:
    pods = pods_of_a_trainjob(admin, namespace, nodes=nodes)
    indexes = {pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] for pod in pods}
    assert indexes == {str(index) for index in range(nodes)}
    for pod in pods:
        assert pod["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"] == "train"
        assert [container["name"] for container in pod["spec"]["containers"]] == ["node"]


def test_their_pods_look_like_the_captured_one(trainer: Trainer, admin: KubeClient, namespace: str) -> None:
    """The controllers still create pods like the captures that the other tests use."""
    (pod,), capture = pods_of_a_trainjob(admin, namespace, nodes=1), captured(TRAINJOB)
    assert set(pod["metadata"]["labels"]) == set(capture["metadata"]["labels"])
    (made,), (kept,) = pod["spec"]["containers"], capture["spec"]["containers"]
    assert [entry["name"] for entry in made["env"]] == [entry["name"] for entry in kept["env"]]
    assert [owner["kind"] for owner in pod["metadata"]["ownerReferences"]] == ["Job"]


GROUP = "trainer.kubeflow.org/v1alpha1"
NAMES = ("torch-distributed", "deepspeed-distributed")


@pytest.mark.parametrize("name", NAMES)
def test_a_trainjob_joined_with_its_runtime_is_decided_as_the_pods_that_the_real_controllers_make(
    trainer: Trainer, admin: KubeClient, namespace: str, name: str
) -> None:
    metadata = {"labels": {"mlflow-enabled": "true"}, "annotations": {"mlflow.kubeflow.org/workspace": "elsewhere"}}
    jobs = {"replicatedJobs": [{"name": "node", "template": {"spec": {"template": {"metadata": metadata}}}}]}
    job: dict[str, Any] = {
        "apiVersion": GROUP,
        "kind": "TrainJob",
        "metadata": {"name": "train"},
        "spec": {
            "runtimeRef": {"name": name},
            "trainer": {"env": [{"name": "MLFLOW_EXPERIMENT_NAME", "value": "mine"}]},
            "runtimePatches": [
                {"manager": "example.com/tests", "trainingRuntimeSpec": {"template": {"spec": jobs}}},
            ],
        },
    }
    admin.create(group_path(GROUP, "trainjobs", namespace=namespace), job)
    path = core_path(namespace, "pods")
    wait_until(lambda: admin.list(path)["items"], "the first pod")
    (real,) = [
        pod
        for pod in admin.list(path)["items"]
        if pod["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"] == "node"
    ]
    runtime = admin.get(f"{group_path(GROUP, 'clustertrainingruntimes')}/{name}")
    (joined,) = [place.pod for place in find([job, runtime]).pods if place.what == "TrainJob train (node)"]
    assert variables(joined_decision := decided(joined, namespace)) == variables(decided(decode(real), namespace))
    assert "MLFLOW_EXPERIMENT_NAME" not in variables(joined_decision)  # the TrainJob's own
    assert variables(joined_decision)["MLFLOW_WORKSPACE"] == "elsewhere"
    assert joined.labels.items() <= decode(real).labels.items()


def decode(pod: dict[str, Any]) -> Any:
    return decode_pod(json.dumps(pod).encode())


def decided(pod: Any, namespace: str) -> Decision:
    return decide(pod, namespace=Namespace(namespace, {}, {}), platform=Platform())


def variables(decision: Decision) -> dict[str, Any]:
    """Return what the pod gets, without the run's name and tags: the joined pod does not know the node's index."""
    (container,) = decision.containers
    return {one.name: one.value for one in container.variables if one.name != "MLFLOW_RUN_CONTEXT"}
