"""Katib's Experiments: what is decided about the pods of their trials."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from tests.support.pods import FOLDER
from tests.webhook.cli.calling import LABELLED, call, on
from tests.webhook.files.test_trainjobs import TORCH, TRAINJOB, explained

ASKS = {
    "metadata": {"labels": {"mlflow-enabled": "true"}},
    "spec": {"containers": [{"name": "training-container", "args": ["--lr=${trialParameters.lr}"]}]},
}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": ASKS}}
PYTORCHJOB = {
    "apiVersion": "kubeflow.org/v1",
    "kind": "PyTorchJob",
    "spec": {"pytorchReplicaSpecs": {"Master": {"template": ASKS}, "Worker": {"template": ASKS}}},
}


def experiment(trial: dict[str, Any] | None, **template: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "lr-search", "namespace": "team"},
        "spec": {"trialTemplate": {**({"trialSpec": copy.deepcopy(trial)} if trial else {}), **template}},
    }


def values(found: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in found["containers"][0]["variables"]}


def tags(found: dict[str, Any]) -> dict[str, str]:
    context: dict[str, str] = json.loads(values(found)["MLFLOW_RUN_CONTEXT"])
    return context


def test_the_pods_of_a_trial_are_explained_with_the_experiment_of_katib() -> None:
    (found,) = explained(experiment(JOB))
    assert (found["pod"], found["namespace"]) == ("trial of Experiment lr-search", "team")
    assert values(found)["MLFLOW_EXPERIMENT_NAME"] == "lr-search"
    assert found["notes"] == ["not known before a pod is created: the name of each trial, shown as lr-search-TRIAL"]


def test_explain_says_the_same_about_a_trial_as_about_its_pods() -> None:
    (found,) = explained(experiment(JOB))
    real = next(yaml.safe_load_all((FOLDER / "controllers" / "katib-job.yaml").read_text()))
    name = real["metadata"]["labels"]["katib.kubeflow.org/trial"]
    (told,) = explained({**real, "kind": "Pod"})
    assert {**tags(found)} == {tag: value.replace(name, "lr-search-TRIAL") for tag, value in tags(told).items()}


def test_each_replica_of_a_trial_is_named() -> None:
    master, worker = explained(experiment(PYTORCHJOB))
    assert [master["pod"], worker["pod"]] == [
        f"trial of Experiment lr-search ({part})" for part in ("Master", "Worker")
    ]
    assert tags(worker)["mlflow.runName"] == "lr-search-TRIAL-worker"
    assert worker["notes"] == [
        "not known before a pod is created: the index of each replica, and the name of each trial, shown as "
        "lr-search-TRIAL"
    ]


def test_a_trial_that_is_a_trainjob_is_joined_with_its_runtime() -> None:
    trial = {**TRAINJOB, "metadata": {}}
    found = explained(experiment(trial), TORCH)
    assert [(one["pod"], one["workload"]) for one in found] == [
        ("trial of Experiment lr-search (node)", "trainjob_node")
    ]
    assert values(found[0])["MLFLOW_EXPERIMENT_NAME"] == "lr-search"
    assert tags(found[0])["katib.trial"] == tags(found[0])["trainjob.name"] == "lr-search-TRIAL"
    alone = on("explain", experiment(trial), *LABELLED)
    assert "trial of Experiment lr-search: its pods come from its runtime: pass the runtime too" in alone.stderr


def test_an_experiment_is_passed_on_unchanged() -> None:
    text = yaml.safe_dump(experiment(JOB))
    result = call("inject", "-f", "-", *LABELLED, text=text)
    assert result.stdout == text
    assert result.stderr == (
        "Experiment lr-search: the webhook wires its trials when Katib creates them; not changed\n"
    )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            experiment({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}),
            "trial of Experiment lr-search: this command does not look into the kind Workflow of argoproj.io (pass a "
            "pod that it created: kubectl get pod NAME",
        ),
        (
            experiment(None, configMap={"configMapName": "templates", "templatePath": "a.yaml"}),
            "Experiment lr-search: the object of its trials is in the ConfigMap templates (pass a pod ",
        ),
        (
            experiment(None),
            "Experiment lr-search: the object of its trials is missing at /spec/trialTemplate/trialSpec, as in a patch",
        ),
        (
            experiment({**JOB, "spec": {}}),
            "trial of Experiment lr-search: the pod template is missing at /spec/template, as in a patch",
        ),
    ],
)
def test_for_a_trial_without_a_pod_template_a_message_says_why(made: dict[str, Any], message: str) -> None:
    result = on("explain", made)
    assert message in result.stderr
    assert result.exit_code == 1


def test_a_label_that_does_not_reach_the_pods_of_the_trials_gets_a_warning_with_the_right_place() -> None:
    made = experiment(JOB)
    del made["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["metadata"]
    made["spec"]["trialTemplate"]["trialSpec"]["metadata"] = {"labels": {"mlflow-enabled": "true"}}
    made["metadata"]["labels"] = {"mlflow-enabled": "true"}
    right = "does not reach its pods: move it to /spec/trialTemplate/trialSpec/spec/template/metadata/labels"
    (found,) = explained(made)
    assert found["warnings"] == [
        f"the label mlflow-enabled of the Experiment {right}",
        f"the label mlflow-enabled at /spec/trialTemplate/trialSpec/metadata/labels of the Experiment {right}",
    ]
