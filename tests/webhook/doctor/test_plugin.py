"""Whether the client plugin is in a pod, and whether its token file has a source."""

from __future__ import annotations

import json
from typing import Any, cast

import jsonpatch
import pytest

from webhook.cluster.kube import KubeClient
from webhook.cluster.kube_errors import KubeForbiddenError, KubeNotFoundError, KubeUnavailableError
from webhook.core.client_plugin import PluginObstacle
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import Decision, decide
from webhook.core.patch import patch
from webhook.core.review import decode_pod
from webhook.doctor.findings import Finding, Status
from webhook.doctor.plugin import check_plugin
from webhook.doctor.pod import decide_now
from webhook.plugin import load_plugin

PLATFORM = Platform(plugin=load_plugin())
ON = {"mlflow.kubeflow.org/client-plugin": "true"}
TEAM = Namespace("team-a", {"mlflow-enabled": "true"}, {})
IMPLIED = {"jobset.sigs.k8s.io/jobset-name": "job"}


def pod(annotations: dict[str, str], labels: dict[str, str] | None = None, **container: Any) -> dict[str, Any]:
    """Return a pod as the API server stores it after the webhook was called."""
    metadata = {"name": "p", "labels": labels or {"mlflow-enabled": "true"}, "annotations": annotations}
    name = "node" if labels else "main"
    document = {"metadata": metadata, "spec": {"containers": [{"name": name, **container}, {"name": "istio-proxy"}]}}
    seen = decode_pod(json.dumps(document).encode())
    wired: dict[str, Any] = jsonpatch.apply_patch(document, patch(seen, decided(document)))
    return wired


def decided(document: dict[str, Any], namespace: Namespace = TEAM) -> Decision:
    return decide(decode_pod(json.dumps(document).encode()), namespace=namespace, platform=PLATFORM)


class Secrets:
    """The Secret mlflow-token with these keys, or what reading it raises."""

    def __init__(self, found: list[str] | Exception) -> None:
        self._found = found

    def get(self, path: str) -> dict[str, Any]:
        if path != "/api/v1/namespaces/team-a/secrets/mlflow-token":
            raise KubeNotFoundError("no", status=404)
        if isinstance(self._found, Exception):
            raise self._found
        return {"data": dict.fromkeys(self._found, "a value")} if self._found else {}

    def list(self, path: str, **_: Any) -> dict[str, Any]:
        return self.get(path)


def check(
    document: dict[str, Any], found: list[str] | Exception | None = None, namespace: Namespace = TEAM
) -> dict[str, Finding]:
    client = cast(KubeClient, Secrets(["token"] if found is None else found))
    now = decide_now(document, namespace, PLATFORM)
    findings = {finding.check: finding for finding in check_plugin(client, document, "team-a", now)}
    assert "a value" not in str(findings)
    return findings


def test_the_plugin_and_the_source_of_its_token_file_are_named() -> None:
    found = check(pod(ON))
    assert {finding.status for finding in found.values()} == {Status.PASSED}
    assert found["pod-client-plugin"].message == "the client plugin is in main"
    assert "/var/run/mlflow-webhook/token is the key token of Secret team-a/mlflow-token" in str(found)


def test_a_pod_without_the_plugin_keeps_the_token_with_which_it_started() -> None:
    (finding,) = check(pod({})).values()
    assert finding.status is Status.PASSED
    assert "the client plugin is off" in finding.message


def test_a_pod_that_is_not_wired_is_not_checked() -> None:
    assert check({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main"}]}}) == {}


def test_an_obstacle_is_named() -> None:
    finding = check(pod(ON, env=[{"name": "PYTHONPATH", "value": "/app"}]))["pod-client-plugin"]
    assert (finding.status, finding.code) == (Status.WARNED, "plugin_left_out")
    assert finding.message == f"p is without the client plugin in main: {PluginObstacle.PYTHON_PATH_SET.sentence}"


def test_an_obstacle_of_another_version_is_shown_as_it_is() -> None:
    document = pod(ON)
    record = json.loads(document["metadata"]["annotations"]["mlflow.kubeflow.org/decision"])
    record["clientPlugin"] = {"main": "of_a_later_version"}
    document["metadata"]["annotations"]["mlflow.kubeflow.org/decision"] = json.dumps(record)
    assert "of_a_later_version, which this version does not know" in check(document)["pod-client-plugin"].message


def test_a_plugin_that_was_turned_on_later_needs_the_pod_to_be_created_again() -> None:
    finding = check(pod({}), namespace=Namespace("team-a", TEAM.labels, ON))["pod-client-plugin"]
    assert (finding.status, finding.code) == (Status.WARNED, "plugin_turned_on_later")
    assert "kubectl delete pod" in finding.remedy


@pytest.mark.parametrize("part", ["volumes", "volumeMounts"])
def test_a_plugin_that_something_removed_is_a_failure(part: str) -> None:
    document = pod(ON)
    (document["spec"] if part == "volumes" else document["spec"]["containers"][0]).pop(part)
    finding = check(document)["pod-client-plugin"]
    assert (finding.status, finding.code) == (Status.FAILED, "plugin_removed")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (KubeNotFoundError("no", status=404), "Secret team-a/mlflow-token not found"),
        ([], "Secret team-a/mlflow-token has no key token"),
        (["other"], "Secret team-a/mlflow-token has no key token"),
    ],
    ids=["no secret", "empty", "another key"],
)
@pytest.mark.parametrize(
    ("labels", "status", "effect"),
    [
        (None, Status.FAILED, "the kubelet does not start the pod (FailedMount)"),
        (IMPLIED, Status.WARNED, "/var/run/mlflow-webhook/token does not exist"),
    ],
    ids=["required", "optional"],
)
def test_a_missing_key_of_the_token_file_fails_only_if_it_is_required(
    labels: dict[str, str] | None, status: Status, effect: str, found: Any, words: str
) -> None:
    finding = check(pod(ON, labels), found)["pod-token-file"]
    assert (finding.status, finding.code) == (status, "token_file_missing")
    assert finding.message.startswith(words)
    assert effect in finding.message
    assert finding.remedy == "mlflow-webhook token refresh --namespace team-a --issuer ISSUER"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KubeForbiddenError("no", status=403), "you may not read Secret team-a/mlflow-token"),
        (KubeUnavailableError("the API server is away"), "could not be read: the API server is away"),
    ],
)
def test_a_secret_that_cannot_be_read_proves_nothing(error: Exception, words: str) -> None:
    found = check(pod(ON), error)
    assert found["pod-client-plugin"].status is Status.PASSED
    assert found["pod-token-file"].status is Status.SKIPPED
    assert words in found["pod-token-file"].message
