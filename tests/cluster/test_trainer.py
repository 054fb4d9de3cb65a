from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.trainer import Trainer
from tests.support.pods import TRAINJOB
from tests.support.pods import pod as captured
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, core_path, group_path


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


def test_their_pods_look_as_the_captured_one(trainer: Trainer, admin: KubeClient, namespace: str) -> None:
    """The captures that the other tests stand on are what these controllers make today."""
    (pod,), capture = pods_of_a_trainjob(admin, namespace, nodes=1), captured(TRAINJOB)
    assert set(pod["metadata"]["labels"]) == set(capture["metadata"]["labels"])
    (made,), (kept,) = pod["spec"]["containers"], capture["spec"]["containers"]
    assert [entry["name"] for entry in made["env"]] == [entry["name"] for entry in kept["env"]]
    assert [owner["kind"] for owner in pod["metadata"]["ownerReferences"]] == ["Job"]
