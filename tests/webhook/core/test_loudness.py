"""A pod with its own label that is not wired gets a warning. Other pods get no warning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import Decision, decide
from webhook.core.patch import patch
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod

LABELLED = Namespace("team-a", {"mlflow-enabled": "true"}, {})
UNLABELLED = Namespace("team-a", {}, {})
OTHER = [{"name": "MLFLOW_TRACKING_URI", "value": "https://other.example"}]
MIRROR = {"kubernetes.io/config.mirror": "4f1ad59b"}
CONTAINERS = "mlflow.kubeflow.org/containers"


def pod(*containers: dict[str, Any], label: str | None = "true", **annotations: str) -> dict[str, Any]:
    labels = {} if label is None else {"mlflow-enabled": label}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": list(containers)}}


def decision(document: dict[str, Any], namespace: Namespace | None = LABELLED) -> Decision:
    return decide(decode_pod(json.dumps(document).encode()), namespace=namespace, platform=Platform())


def test_each_container_that_is_not_wired_has_its_own_warning() -> None:
    found = decision(pod({"name": "a"}, {"name": "b", "env": OTHER}, {"name": "c", "env": OTHER}))
    assert found.reason is Reason.WIRED_BY_POD_LABEL
    assert [warning.split(" is not wired")[0] for warning in found.warnings] == ["container b", "container c"]


@pytest.mark.parametrize(
    "document",
    [
        pod({"name": "c", "command": ["mlflow", "server"]}),
        pod({"name": "c"}, **MIRROR),
        pod({"name": "istio-proxy"}),
        pod({"name": "c"}, **{CONTAINERS: "absent"}),
        pod(),
    ],
    ids=["server", "mirror pod", "sidecar only", "absent container", "no container"],
)
def test_a_pod_that_asks_and_is_not_wired_has_a_warning(document: dict[str, Any]) -> None:
    found = decision(document)
    assert found.reason.verdict == "skipped"
    assert any("is not wired" in w or "to be wired to MLflow and is not" in w for w in found.warnings)


def test_a_sidecar_next_to_a_wired_container_needs_no_warning() -> None:
    assert decision(pod({"name": "c"}, {"name": "istio-proxy"})).warnings == ()


def test_a_pod_that_did_not_ask_gets_no_warning() -> None:
    labels = {"jobset.sigs.k8s.io/jobset-name": "j"}
    node = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "node", "env": OTHER}]}}
    assert decision(node).reason is Reason.OTHER_SERVER
    assert decision(node).warnings == ()
    assert decision(pod({"name": "c"}, label=None, **MIRROR)).warnings == ()


@pytest.mark.parametrize("namespace", [LABELLED, UNLABELLED, None], ids=["labelled", "unlabelled", "not read"])
def test_a_mirror_pod_is_admitted_as_it_is(namespace: Namespace | None) -> None:
    document = pod({"name": "c"}, **MIRROR)
    found = decision(document, namespace)
    assert found.reason is Reason.MIRROR_POD
    assert not found.try_again
    assert patch(decode_pod(json.dumps(document).encode()), found) == []


def test_wrong_container_names_get_a_warning_on_every_pod() -> None:
    document = pod({"name": "main"}, **{CONTAINERS: "main, mian, prep"})
    document["spec"]["initContainers"] = [{"name": "prep", "restartPolicy": "Always"}]
    found = decision(document)
    assert found.reason is Reason.WIRED_BY_POD_LABEL
    assert [container.name for container in found.containers] == ["main"]
    assert found.warnings == (
        "annotation mlflow.kubeflow.org/containers names the container mian, which is not in the pod",
        "annotation mlflow.kubeflow.org/containers names the init container prep; init containers are never wired",
    )


def test_env_from_gets_a_warning_only_in_wired_containers_of_pods_that_ask() -> None:
    sources = [{"configMapRef": {"name": "metadata-grpc-configmap"}}, {"secretRef": {"name": "mlflow-creds"}}]
    container = {"name": "c", "envFrom": sources}
    (warning,) = decision(pod(container)).warnings
    assert warning.startswith("container c takes variables from Secret mlflow-creds (envFrom)")
    assert len(warning) <= 256  # where the API server cuts warnings
    assert len(decision(pod({**container, "env": OTHER})).warnings) == 1
    assert decision(pod({"name": "c", "envFrom": sources[:1]})).warnings == ()
    node = {"metadata": {"labels": {"jobset.sigs.k8s.io/jobset-name": "j"}}, "spec": {"containers": [container]}}
    assert decision(node).warnings == ()


def test_many_sources_are_counted_and_not_listed() -> None:
    sources = [{"configMapRef": {"name": f"c{i}"}} for i in range(9)]
    (warning,) = decision(pod({"name": "c", "envFrom": sources})).warnings
    assert "ConfigMap c0, ConfigMap c1, ConfigMap c2 and 6 more (envFrom)" in warning


EXPERIMENT = "mlflow.kubeflow.org/experiment"


def warnings_of(*, of: str, labels: dict[str, str], annotations: dict[str, str]) -> tuple[str, ...]:
    mine = (labels, annotations) if of == "pod" else ({}, {})
    pod = {"metadata": {"labels": mine[0], "annotations": mine[1]}, "spec": {"containers": [{"name": "c"}]}}
    namespace = Namespace("team", labels, annotations) if of == "namespace" else Namespace("team", {}, {})
    return decide(decode_pod(json.dumps(pod).encode()), namespace=namespace, platform=Platform()).warnings


@pytest.mark.parametrize("of", ["pod", "namespace"])
def test_a_label_as_an_annotation_and_an_annotation_as_a_label_are_named(of: str) -> None:
    assert warnings_of(of=of, labels={}, annotations={"mlflow-enabled": "true"}) == (
        f"annotation mlflow-enabled of the {of} is ignored: it has to be a label",
    )
    assert warnings_of(of=of, labels={EXPERIMENT: "nightly"}, annotations={}) == (
        f"label {EXPERIMENT} of the {of} is ignored: it has to be an annotation",
    )


@pytest.mark.parametrize("of", ["pod", "namespace"])
def test_labels_of_others_and_what_is_there_in_both_forms_get_no_such_warning(of: str) -> None:
    both = {"mlflow-enabled": "false", EXPERIMENT: "nightly"}
    assert warnings_of(of=of, labels=both, annotations={EXPERIMENT: "nightly", "mlflow-enabled": "false"}) == ()
    others = {"mlflow.kubeflow.org/owner": "a", "experiment": "b", "example.com/experiment": "c"}
    assert warnings_of(of=of, labels=others, annotations={}) == ()
