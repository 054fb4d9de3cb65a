"""Which kind of workload a pod is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.core.review import decode_pod
from webhook.core.workload import WorkloadKind, recognise

KFP = {"pipelines.kubeflow.org/v2_component": "true"}
KFP_V1 = {"pipelines.kubeflow.org/pipeline-sdk-type": "kfp", "workflows.argoproj.io/workflow": "w-x7k2p"}
JOBSET = {"jobset.sigs.k8s.io/jobset-name": "train"}
LAUNCHER = {"name": "main", "command": ["launcher-v2", "--executor_type", "importer"]}


def kind(labels: dict[str, str], *containers: dict[str, Any], init: str | None = None) -> WorkloadKind:
    spec = {"containers": containers, "initContainers": [{"name": init}] if init else None}
    return recognise(decode_pod(json.dumps({"metadata": {"labels": labels}, "spec": spec}).encode())).kind


@pytest.mark.parametrize(
    ("labels", "containers", "init", "expected"),
    [
        (KFP, [{"name": "wait"}, {"name": "main"}], "kfp-launcher", WorkloadKind.KFP_COMPONENT),
        (KFP, [{"name": "main"}], None, WorkloadKind.KFP_DRIVER),
        (KFP, [{"name": "wait"}], "kfp-launcher", WorkloadKind.KFP_DRIVER),
        (KFP, [LAUNCHER], None, WorkloadKind.KFP_IMPORTER),
        (KFP, [LAUNCHER], "kfp-launcher", WorkloadKind.KFP_COMPONENT),
        (KFP_V1, [{"name": "main"}], None, WorkloadKind.KFP_V1_COMPONENT),
        (JOBSET, [{"name": "node"}], None, WorkloadKind.TRAINJOB_NODE),
        (JOBSET, [{"name": "dataset-initializer"}], None, WorkloadKind.TRAINJOB_INITIALIZER),
        (JOBSET, [{"name": "model-initializer"}], None, WorkloadKind.TRAINJOB_INITIALIZER),
        (JOBSET, [{"name": "launcher"}], None, WorkloadKind.OTHER_POD),
        ({}, [{"name": "main", "command": ["mlflow", "server"]}], None, WorkloadKind.MLFLOW_SERVER),
        ({}, [], None, WorkloadKind.OTHER_POD),
    ],
)
def test_a_workload_is_recognised_by_its_labels_and_containers(
    labels: dict[str, str], containers: list[dict[str, Any]], init: str | None, expected: WorkloadKind
) -> None:
    assert kind(labels, *containers, init=init) is expected


@pytest.mark.parametrize(
    ("labels", "container"),
    [
        ({"pipelines.kubeflow.org/v2_component": "false"}, LAUNCHER),
        ({}, LAUNCHER),
        ({key: value for key, value in KFP_V1.items() if key != "workflows.argoproj.io/workflow"}, {"name": "main"}),
        ({"jobset.sigs.k8s.io/jobset-name": ""}, {"name": "node"}),
        ({}, {"name": "node"}),
        ({}, {"name": "dataset-initializer"}),
    ],
)
def test_a_container_or_a_label_alone_does_not_make_a_workload(
    labels: dict[str, str], container: dict[str, Any]
) -> None:
    assert kind(labels, container) is WorkloadKind.OTHER_POD
