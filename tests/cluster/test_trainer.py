from __future__ import annotations

from tests.cluster.controlplane import wait_until
from tests.cluster.trainer import Trainer
from webhook.kube import KubeClient, core_path, group_path


def test_the_real_controllers_make_pods_of_a_trainjob(trainer: Trainer, admin: KubeClient, namespace: str) -> None:
    job = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "two-nodes"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 2}},
    }
    admin.create(group_path("trainer.kubeflow.org/v1alpha1", "trainjobs", namespace=namespace), job)
    path = core_path(namespace, "pods")
    wait_until(lambda: len(admin.list(path)["items"]) == 2, "both nodes' pods")
    for pod in admin.list(path)["items"]:
        assert pod["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"] == "two-nodes"
        assert [container["name"] for container in pod["spec"]["containers"]] == ["node"]
