"""Pods to create on the real API server, and what comes back."""

from __future__ import annotations

import json
from typing import Any

from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, core_path

TRAINJOBS = "trainer.kubeflow.org/v1alpha1"


def environments(document: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Each container's variables, by what matters: the API server fills in the fieldRef's apiVersion."""
    return {
        container["name"]: [
            (
                entry["name"],
                json.dumps(entry.get("value") or entry.get("valueFrom"), sort_keys=True).replace(
                    '"apiVersion": "v1", ', ""
                ),
            )
            for entry in container.get("env", [])
        ]
        for container in document["spec"]["containers"] + document["spec"].get("initContainers", [])
    }


def variables(document: dict[str, Any], container: str) -> list[str]:
    return [name for name, _ in environments(document)[container]]


def simple(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {}, **metadata},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }


def has_accounts(admin: KubeClient, namespace: str) -> bool:
    return bool(admin.list(core_path(namespace, "serviceaccounts"))["items"])


def trainjob(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": TRAINJOBS,
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def pods_of(admin: KubeClient, namespace: str, number: int) -> list[dict[str, Any]]:
    path = core_path(namespace, "pods")
    wait_until(lambda: len(admin.list(path)["items"]) >= number, f"{number} pods")
    found: list[dict[str, Any]] = admin.list(path)["items"]
    return found
