"""`runs` with a cluster: whose token, which workspace, and why there are no runs."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.environment import bare
from tests.support.pods import KFP, TRAINJOB, plain
from tests.support.proxy import Server, of_json
from tests.support.training import ROOT
from tests.support.waiting import DEADLINE, wait_until
from tests.webhook.runs.runs import document
from webhook.cluster.kube import KubeClient, KubeError, core_path, group_path
from webhook.core.names import DECISION_ANNOTATION

RUN = "d308ca25-ab18-46a3-a0ec-49f5d322c2d8"
SECRET = "h.a-token.s"
DRIVER = "real/kfp-2.17.0-unmodified.container-driver.admissionreview.json"
WORKFLOWS = {
    "metadata": {"name": "workflows.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "scope": "Namespaced",
        "names": {"plural": "workflows", "kind": "Workflow"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.proxied = False
    made.replies["/api/2.0/mlflow/experiments/search"] = of_json(200, {"experiments": [{"experiment_id": "1"}]})
    made.replies["/api/2.0/mlflow/runs/search"] = of_json(200, {})
    yield made
    made.stop()


class Case:
    """A labelled namespace with a token, and the command."""

    def __init__(self, plane: ControlPlane, namespace: str, server: Server) -> None:
        self.plane, self.namespace, self.server, self.admin = plane, namespace, server, plane.client()
        server.workspaces.add(namespace)
        secret = {"metadata": {"name": "mlflow-token"}, "data": {"token": b64encode(SECRET.encode()).decode()}}
        self.admin.create(core_path(namespace, "secrets"), secret)

    def call(
        self, command: str, *arguments: str, url: str | None = None, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "webhook.cli", command, *arguments, f"--namespace={self.namespace}"]
        words += [f"--kubeconfig={kubeconfig or self.plane.kubeconfig}", "--timeout=60"]
        words += [f"--url={self.server.url}"] if url is None else []
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=DEADLINE, cwd=ROOT, env=bare()
        )
        assert "Traceback" not in done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done

    def pod(self, name: str, *, sample: str = KFP, reason: str | None = None, **status: Any) -> None:
        body = copy.deepcopy(plain(sample, name))
        body["metadata"]["annotations"] = {
            key: value for key, value in body["metadata"]["annotations"].items() if "mlflow" not in key
        }
        if reason:
            wired = {"main": ["MLFLOW_RUN_CONTEXT"], "node": ["MLFLOW_RUN_CONTEXT"]}
            verdict = "wired" if reason.startswith("wired") else "skipped"
            record = {"decision": verdict, "reason": reason, "containers": wired if verdict == "wired" else {}}
            body["metadata"]["annotations"][DECISION_ANNOTATION] = json.dumps(record)
        pods = core_path(self.namespace, "pods")
        self.admin.create(pods, body)
        if status:
            self.admin.patch(f"{pods}/{name}/status", {"status": status})


@pytest.fixture
def case(control_plane: ControlPlane, ready: str, server: Server) -> Case:
    return Case(control_plane, ready, server)


def test_the_namespaces_own_token_and_workspace_find_the_runs(case: Case) -> None:
    case.server.replies["/api/2.0/mlflow/runs/search"] = of_json(200, {"runs": [document("a")]})
    found = case.call("runs", "run", RUN, "-o", "json", "--mlflow-url=https://m")
    assert found.returncode == 0, found.stderr
    (run,) = json.loads(found.stdout)
    assert run["link"] == f"https://m/#/experiments/1/runs/a?workspace={case.namespace}"
    assert set(case.server.authorizations) == {f"Bearer {SECRET}"}


def test_a_run_that_its_pod_left_behind_is_named(case: Case) -> None:
    case.pod("ended", reason="wired_by_namespace_label", phase="Failed")
    left = document("a", status="RUNNING", end_time=None, tags={"k8s.pod.name": "ended"})
    case.server.replies["/api/2.0/mlflow/runs/search"] = of_json(200, {"runs": [left]})
    found = case.call("runs", "run", RUN, "--watch")
    assert found.returncode == 0
    assert "note: run-a is RUNNING in MLflow, but its pod ended has ended." in found.stderr


def test_pods_that_are_not_wired_or_starting_or_ended_explain_why_there_are_no_runs(case: Case) -> None:
    case.pod("plugin", reason="kfp_plugin")
    case.pod("waits", reason="wired_by_namespace_label")
    case.pod("ended", reason="wired_by_namespace_label", phase="Succeeded")
    case.pod("driver", sample=DRIVER)
    found = case.call("runs", "run", RUN)
    assert (found.returncode, found.stdout) == (3, "")
    assert f"No runs of run {RUN} in the workspace {case.namespace} of " in found.stderr
    assert "not_wired: not wired: plugin (kfp_plugin: The MLflow plugin of Kubeflow Pipelines" in found.stderr
    assert "starting: waits has not started yet." in found.stderr
    assert "no_run_started: ended without a run: ended." in found.stderr
    assert f"do: kubectl logs --namespace {case.namespace} ended" in found.stderr


def test_cached_tasks_are_named_by_the_workflow(case: Case) -> None:
    definitions = group_path("apiextensions.k8s.io/v1", "customresourcedefinitions")
    case.admin.create(definitions, WORKFLOWS)
    try:
        workflows = group_path("argoproj.io/v1alpha1", "workflows", namespace=case.namespace)
        node = {
            "displayName": "train-model-driver",
            "outputs": {"parameters": [{"name": "cached-decision", "value": "true"}]},
        }
        workflow = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "w", "labels": {"pipeline/runid": RUN}},
            "status": {"nodes": {"w-1": node}},
        }
        wait_until(lambda: created(case.admin, workflows, workflow), "the resource of workflows")
        found = case.call("runs", "run", RUN)
    finally:
        case.admin.delete(f"{definitions}/workflows.argoproj.io")
    assert found.returncode == 3
    assert "cached: cached: train-model. KFP creates no pod" in found.stderr
    assert "no_pods" not in found.stderr


def created(admin: KubeClient, path: str, body: dict[str, Any]) -> bool:
    try:
        admin.create(path, body)
    except KubeError:
        return False
    return True


def test_an_unknown_subject_and_an_unknown_namespace_are_named(case: Case) -> None:
    found = case.call("runs", "trainjob", "nothing")
    assert found.returncode == 3
    assert f"no_pods: no pods of TrainJob nothing found in namespace {case.namespace}" in found.stderr
    case.namespace = "nowhere"
    missing = case.call("runs", "pod", "x")
    assert missing.returncode == 1
    assert missing.stderr == "Error: namespace nowhere not found\n"


def test_an_unreachable_server_is_reported_as_by_check(case: Case) -> None:
    found = case.call("runs", "run", RUN, url="")
    assert found.returncode == 1
    assert "server-reachable: " in found.stderr
    assert "mlflow-tracking-server" in found.stderr


def test_a_token_that_may_not_be_read_is_named(control_plane: ControlPlane, case: Case) -> None:
    case.server.proxied = True
    account = control_plane.service_account(case.namespace, "default")
    found = case.call("runs", "run", RUN, kubeconfig=account)
    assert found.returncode == 1
    assert f"you may not read Secret {case.namespace}/mlflow-token" in found.stderr


def test_the_doctor_says_how_to_see_the_runs(case: Case) -> None:
    case.pod("node", sample=TRAINJOB, reason="wired_by_namespace_label")
    found = case.call("check", "trainjob", "mlflow-finetune")
    last = found.stdout.splitlines()[-1]
    assert last == f"To see its MLflow runs: mlflow-webhook runs trainjob mlflow-finetune --namespace {case.namespace}"
    assert "runs" not in case.call("check", "trainjob", "mlflow-finetune", "-o", "json").stdout
    gone = case.call("check", "run", RUN)
    assert gone.returncode == 1
    assert gone.stderr.endswith(f"To see its MLflow runs: mlflow-webhook runs run {RUN} --namespace {case.namespace}\n")
