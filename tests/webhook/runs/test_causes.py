"""Why there are no runs, as far as pods and KFP's workflow show."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.pods import KFP, TRAINJOB, pod
from webhook.core import names
from webhook.doctor.pod import Subject
from webhook.runs.causes import Cause, absent, cached_tasks, elsewhere, pod_causes, run_causes, user_pods

DRIVER = "real/kfp-2.17.0-unmodified.container-driver.admissionreview.json"
URI = "http://mlflow-tracking-server.kubeflow:5000"
GIVEN = [names.TRACKING_URI, names.POD_NAME, names.RUN_CONTEXT]


def seen(
    phase: str = "Running",
    *,
    sample: str = KFP,
    reason: str | None = "wired_by_namespace_label",
    given: list[str] = GIVEN,
    uri: str = URI,
    **status: Any,
) -> dict[str, Any]:
    """Return a pod as the API server has it some time after its creation."""
    document = copy.deepcopy(pod(sample))
    document["metadata"].setdefault("name", document["metadata"].get("generateName", "") + "x")
    document["status"] = {"phase": phase, **status}
    if reason:
        container = "node" if sample == TRAINJOB else "main"
        wired = reason.startswith("wired")
        record: dict[str, Any] = {"decision": "wired" if wired else "skipped", "reason": reason, "workload": "x"}
        record |= {"containers": {container: given}} if wired else {}
        document["metadata"].setdefault("annotations", {})[names.DECISION_ANNOTATION] = json.dumps(record)
        if wired:
            user = next(found for found in document["spec"]["containers"] if found["name"] == container)
            user["env"] = [{"name": names.TRACKING_URI, "value": uri}, *(user.get("env") or [])]
    return document


def causes(*pods: dict[str, Any]) -> list[Cause]:
    return list(pod_causes(user_pods(pods), namespace="team-a", uri=URI))


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        (seen(reason="kfp_plugin"), "not_wired", "kfp_plugin: The MLflow plugin of Kubeflow Pipelines has already"),
        (seen(reason="from_the_future"), "not_wired", "which this version does not know"),
        (seen(reason=None), "not_wired", "no decision is recorded"),
        (seen("Pending"), "starting", "has not started yet."),
        (
            seen("Pending", containerStatuses=[{"state": {"waiting": {"reason": "CreateContainerConfigError"}}}]),
            "starting",
            "(CreateContainerConfigError)",
        ),
        (
            seen(
                "Pending",
                conditions=[
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ],
            ),
            "starting",
            "(Unschedulable: 0/3 nodes)",
        ),
        (seen(), "starting", "running, without an MLflow run so far"),
        (seen("Succeeded"), "no_run_started", "ended without a run"),
        (seen("Failed", sample=TRAINJOB), "no_run_started", "ended without a run"),
        (seen("Succeeded", given=[names.TRACKING_URI]), "lineage_off", "wired without lineage"),
        (seen(uri="http://other:5000"), "other_server", "http://other:5000"),
    ],
)
def test_the_state_of_a_pod_is_a_reason_for_no_run(found: dict[str, Any], code: str, words: str) -> None:
    told = {cause.code: cause.message for cause in causes(found)}
    assert code in told
    assert words in told[code]
    assert found["metadata"]["name"] in told[code]


def test_pods_with_the_same_reason_are_named_together() -> None:
    pods = [seen(reason="kfp_plugin") for _ in range(8)]
    for number, found in enumerate(pods):
        found["metadata"]["name"] = f"p{number}"
    (told,) = causes(*pods)
    assert told.message.startswith("not wired: p0, p1, p2, p3, p4 and 3 more (kfp_plugin: ")
    assert told.remedy == "mlflow-webhook check pod p0 --namespace team-a"


def test_a_driver_has_no_user_code_and_says_nothing_about_wiring() -> None:
    assert causes(seen(sample=DRIVER, reason=None)) == []


def test_only_pods_whose_code_has_not_ended_are_active() -> None:
    states = user_pods([seen("Pending"), seen("Running"), seen("Succeeded"), seen("Failed")])
    assert [state.is_active for state in states] == [True, True, False, False]


def workflow(**decisions: str) -> dict[str, Any]:
    nodes = {
        f"w-{number}": {
            "displayName": f"{task}-driver",
            "outputs": {"parameters": [{"name": "cached-decision", "value": decision}, {"name": "condition"}]},
        }
        for number, (task, decision) in enumerate(decisions.items())
    }
    return {"status": {"nodes": {**nodes, "w": {"displayName": "w"}}}}


def test_the_workflow_shows_which_tasks_were_cached() -> None:
    assert cached_tasks(workflow(train="true", evaluate="false", prepare="true")) == ["prepare", "train"]


@pytest.mark.parametrize("document", [{}, {"status": {}}, {"status": {"compressedNodes": "H4sI"}}])
def test_a_workflow_without_readable_nodes_shows_nothing(document: dict[str, Any]) -> None:
    assert cached_tasks(document) == []


@pytest.mark.parametrize(("cached", "code"), [(["train"], "cached"), ([], "starting"), (None, "cached_or_starting")])
def test_a_pipeline_run_with_drivers_only_has_cached_tasks_or_is_starting(cached: list[str] | None, code: str) -> None:
    drivers = [seen(sample=DRIVER, reason=None)]
    (told,) = run_causes(drivers, user_pods(drivers), cached=cached)
    assert told.code == code


def test_runs_in_another_workspace_come_with_the_command_that_shows_them() -> None:
    (told,) = elsewhere({"default": 2}, command="kubectl mlflow runs run x --namespace team-a")
    assert told.message.startswith("2 runs are in the workspace default.")
    assert told.remedy == "kubectl mlflow runs run x --namespace team-a --workspace default"


def test_a_subject_without_pods_is_named() -> None:
    assert (
        "no pods of TrainJob t found in namespace team-a"
        in absent(Subject("trainjob", "t"), namespace="team-a").message
    )
