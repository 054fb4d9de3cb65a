"""Which pods of a namespace run unwired although the webhook would wire them now."""

from __future__ import annotations

from typing import Any, cast

import pytest

from webhook.cluster.kube import KubeClient
from webhook.cluster.kube_errors import KubeForbiddenError
from webhook.core.configuration import Namespace, Platform
from webhook.doctor.findings import Finding, Status
from webhook.doctor.unwired import check_pods

JOB = {"jobset.sigs.k8s.io/jobset-name": "job"}
TEAM = Namespace("team-a", {"mlflow-enabled": "true"}, {})
WIRED = '{"decision":"wired","reason":"wired_by_namespace_label","workload":"trainjob_node","containers":{}}'


def node(name: str, labels: dict[str, str] = JOB, phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team-a", "labels": labels, **metadata},
        "spec": {"containers": [{"name": "node", "image": "i"}]},
        "status": {"phase": phase},
    }


class Pods:
    """The pods of the namespace, in pages of two."""

    def __init__(self, pods: list[dict[str, Any]]) -> None:
        self._pods = pods
        self.calls = 0

    def list(self, path: str, *, params: dict[str, Any]) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/team-a/pods"
        self.calls += 1
        begin = int(params.get("continue", 0))
        more = {"continue": str(begin + 2)} if begin + 2 < len(self._pods) else {}
        return {"items": self._pods[begin : begin + 2], "metadata": more}


def check(*pods: dict[str, Any], namespace: Namespace = TEAM) -> Finding:
    return check_pods(cast(KubeClient, Pods(list(pods))), namespace, Platform())


def test_pods_that_are_wired_ended_or_never_wired_are_not_named() -> None:
    finding = check(
        node("wired", annotations={"mlflow.kubeflow.org/decision": WIRED}),
        node("succeeded", phase="Succeeded"),
        node("failed", phase="Failed"),
        node("deleted", deletionTimestamp="2026-06-01T00:00:00Z"),
        node("opted-out", {**JOB, "mlflow-enabled": "false"}),
        node("notebook", {}),
    )
    assert (finding.status, finding.message) == (Status.PASSED, "no unwired pods found; wired pods: 1")


def test_pods_that_were_missed_are_named_with_what_to_start_again() -> None:
    finding = check(node("a"), node("b"), node("c", {"mlflow-enabled": "true"}))
    assert (finding.status, finding.code) == (Status.FAILED, "pods_not_wired")
    assert "would wire them now: a, b, c. " in finding.message
    assert finding.remedy == (
        "A pod is wired only when it is created. Start again: TrainJob job. Delete the pods that a controller "
        "creates again: kubectl delete pod --namespace team-a c"
    )


@pytest.mark.parametrize(
    ("label", "owner"),
    [
        ("jobset.sigs.k8s.io/jobset-name", "TrainJob a"),
        ("pipeline/runid", "pipeline run a"),
        ("workflows.argoproj.io/workflow", "Workflow a"),
        ("batch.kubernetes.io/job-name", "Job a"),
    ],
)
def test_what_does_not_replace_a_deleted_pod_is_started_again(label: str, owner: str) -> None:
    labels = {"mlflow-enabled": "true", label: "a", "batch.kubernetes.io/job-name": "a"}
    assert check(node("p", labels)).remedy == f"A pod is wired only when it is created. Start again: {owner}."


def test_a_pod_that_was_admitted_unwired_with_a_record_counts_too() -> None:
    record = '{"decision":"skipped","reason":"namespace_lookup_failed","workload":"trainjob_node"}'
    assert check(node("a", annotations={"mlflow.kubeflow.org/decision": record})).code == "pods_not_wired"


def test_in_a_namespace_that_is_not_labelled_only_pods_that_ask_are_missed() -> None:
    finding = check(node("a"), node("b", {**JOB, "mlflow-enabled": "true"}), namespace=Namespace("team-a", {}, {}))
    assert "would wire them now: b. " in finding.message


def test_of_many_pods_ten_are_named() -> None:
    finding = check(*[node(f"p{number:02}") for number in range(12)])
    assert "p08, p09 and 2 more. " in finding.message


def test_pods_that_may_not_be_listed_are_skipped() -> None:
    class Forbidden:
        def list(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise KubeForbiddenError("no", status=403)

    finding = check_pods(cast(KubeClient, Forbidden()), TEAM, Platform())
    assert (finding.status, finding.message) == (Status.SKIPPED, "you may not list the pods of team-a")
