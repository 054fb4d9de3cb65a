from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import Decision, decide
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod

ANYWHERE = [
    "airflow-xcom-sidecar",
    "azwi-proxy",
    "cloud-sql-proxy",
    "consul-dataplane",
    "consul-dataplane-trainer",
    "consul-sidecar",
    "csql-team-a-features",
    "daprd",
    "datadog-agent-injected",
    "envoy",
    "envoy-sidecar",
    "fluent-bit",
    "fluentbit",
    "fluid-fuse",
    "fluid-fuse-0",
    "flyte-copilot-sidecar",
    "gke-gcsfuse-sidecar",
    "hf-mount",
    "istio-proxy",
    "jfs-mount",
    "kube-rbac-proxy",
    "kuma-sidecar",
    "linkerd-debug",
    "linkerd-proxy",
    "metrics-logger-and-collector",
    "modelcar",
    "modelcar-1",
    "newrelic-infrastructure-sidecar",
    "nginx-mesh-sidecar",
    "oauth-proxy",
    "opa-istio",
    "otc-container",
    "queue-proxy",
    "seldon-container-engine",
    "vault-agent",
]
WITH_A_LABEL = [
    ("agent", "serving.kserve.io/inferenceservice"),
    ("autoscaler", "ray.io/cluster"),
    ("collector", "ray.io/cluster"),
    ("ray-job-submitter", "ray.io/node-type"),
    ("metrics-collector", "katib.kubeflow.org/trial"),
    ("wait", "workflows.argoproj.io/workflow"),
]


def decision(
    *containers: str,
    labels: dict[str, str] | None = None,
    chosen: str | None = None,
    env: dict[str, list[dict[str, str]]] | None = None,
) -> Decision:
    document: dict[str, Any] = {
        "metadata": {"name": "p", "labels": {"mlflow-enabled": "true", **(labels or {})}},
        "spec": {"containers": [{"name": name, "env": (env or {}).get(name)} for name in containers]},
    }
    if chosen:
        document["metadata"]["annotations"] = {"mlflow.kubeflow.org/containers": chosen}
    seen = decode_pod(json.dumps(document).encode())
    return decide(seen, namespace=Namespace("team-a", {}, {}), platform=Platform())


def skipped(found: Decision) -> dict[str, Reason | None]:
    return {container.name: container.skipped for container in found.containers}


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_container_that_a_platform_injects_gets_no_token(name: str) -> None:
    assert skipped(decision("trainer", name)) == {"trainer": None, name: Reason.SIDECAR}


@pytest.mark.parametrize(("name", "label"), WITH_A_LABEL)
def test_a_general_name_is_a_sidecars_only_in_its_platforms_pods(name: str, label: str) -> None:
    assert skipped(decision("trainer", name, labels={label: "x"})) == {"trainer": None, name: Reason.SIDECAR}
    assert skipped(decision("trainer", name)) == {"trainer": None, name: None}


def test_a_container_of_a_sidecarset_is_known_by_its_variable() -> None:
    injected = [{"name": "A", "value": "b"}, {"name": "IS_INJECTED", "value": "true"}]
    assert skipped(decision("trainer", "mesh", env={"mesh": injected})) == {"trainer": None, "mesh": Reason.SIDECAR}
    for value in ({"name": "IS_INJECTED", "value": "false"}, {"name": "IS_INJECTED"}):
        assert skipped(decision("trainer", env={"trainer": [value]})) == {"trainer": None}
    assert skipped(decision("mesh", env={"mesh": injected}, chosen="mesh")) == {"mesh": None}


def test_the_container_that_runs_a_trainjobs_code_is_not_a_sidecar_with_any_variables() -> None:
    injected = [{"name": "IS_INJECTED", "value": "true"}]
    labels = {"jobset.sigs.k8s.io/jobset-name": "finetune"}
    assert skipped(decision("node", labels=labels, env={"node": injected})) == {"node": None}


@pytest.mark.parametrize("name", ["proxy", "sidecar", "collector", "metrics", "logger", "envoy-trainer", "my-agent"])
def test_names_that_people_give_containers_do_not_count_as_sidecars(name: str) -> None:
    assert skipped(decision(name)) == {name: None}


@pytest.mark.parametrize("name", ["envoy", "fluentd", "agent"])
def test_a_container_that_the_annotation_names_is_wired_with_any_name(name: str) -> None:
    labels = {"serving.kserve.io/inferenceservice": "iris"}
    found = decision("trainer", name, labels=labels, chosen=f"trainer, {name}")
    assert found.reason is Reason.WIRED_BY_POD_LABEL
    assert skipped(found) == {"trainer": None, name: None}
