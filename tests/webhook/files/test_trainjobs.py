"""A TrainJob with its runtime: what is decided about the pods that Trainer makes of both."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pods import pod
from tests.webhook.cli.calling import LABELLED, call

STEP = {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}}


def job(name: str, containers: list[dict[str, Any]], metadata: Any = None, labels: Any = None) -> dict[str, Any]:
    template = {"metadata": labels or {}, "spec": {"containers": containers}}
    return {"name": name, "template": {"metadata": metadata or {}, "spec": {"template": template}}}


def runtime(*jobs: dict[str, Any], kind: str = "ClusterTrainingRuntime", **further: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": "torch"},
        "spec": {"template": {"spec": {"replicatedJobs": list(jobs)}}, **further},
    }


TORCH = runtime(job("node", [{"name": "node", "image": "torch", "env": [{"name": "A", "value": "1"}]}], STEP))
TRAINJOB: dict[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "metadata": {"name": "finetune", "namespace": "team"},
    "spec": {"runtimeRef": {"name": "torch"}, "trainer": {"env": [{"name": "B", "value": "2"}]}},
}


def patched(metadata: dict[str, Any], spec: dict[str, Any] | None = None, **further: Any) -> dict[str, Any]:
    """Return a TrainJob with runtimePatches for the pods of its replicated job `node`."""
    template = {"metadata": metadata, **({"spec": spec} if spec else {})}
    jobs = [{"name": "node", "template": {"spec": {"template": template}}}]
    made = copy.deepcopy(TRAINJOB)
    made["spec"]["runtimePatches"] = [
        {"manager": "me", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}
    ]
    made["metadata"].update(further)
    return made


def explained(*documents: dict[str, Any], arguments: list[str] = LABELLED) -> list[dict[str, Any]]:
    text = yaml.safe_dump_all(documents)
    found: list[dict[str, Any]] = json.loads(call("explain", "-f", "-", *arguments, "-o", "json", text=text).stdout)
    return found


def variables(found: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable for variable in found["containers"][0]["variables"]}


@pytest.mark.parametrize("order", [1, -1])
def test_a_trainjob_and_its_runtime_are_explained_as_the_pods_of_both(order: int) -> None:
    (found,) = explained(*[TORCH, TRAINJOB][::order])
    assert (found["pod"], found["namespace"]) == ("TrainJob finetune (node)", "team")
    assert (found["decision"], found["workload"]) == ("wired", "trainjob_node")
    assert variables(found)["MLFLOW_EXPERIMENT_NAME"]["value"] == "finetune"
    assert json.loads(variables(found)["MLFLOW_RUN_CONTEXT"]["value"])["trainjob.name"] == "finetune"
    assert variables(found)["MLFLOW_WORKSPACE"]["value"] == "team"
    assert found["notes"] == ["not known before a pod is created: the index of each node"]


def test_they_may_be_in_two_files(tmp_path: Path) -> None:
    for name, document in {"job.yaml": TRAINJOB, "runtime.yaml": TORCH}.items():
        (tmp_path / name).write_text(yaml.safe_dump(document))
    files = [word for name in ("job.yaml", "runtime.yaml") for word in ("-f", str(tmp_path / name))]
    result = call("explain", *files, *LABELLED)
    assert result.exit_code == 0
    assert result.stdout.startswith("TrainJob finetune (node) in namespace team\n")
    assert "ClusterTrainingRuntime" not in result.output


def test_variables_of_the_trainer_affect_the_decision() -> None:
    own = copy.deepcopy(TRAINJOB)
    own["spec"]["trainer"]["env"] = [
        {"name": "A", "value": "3"},
        {"name": "MLFLOW_TRACKING_URI", "value": "http://other:5000"},
    ]
    (found,) = explained(TORCH, own)
    assert found["reason"] == "other_server"
    (found,) = explained(runtime(job("node", [{"name": "node"}])), own)  # not the step that trains
    assert found["decision"] == "wired"


def test_with_mpi_the_nodes_also_get_them_if_the_launcher_is_one_of_them() -> None:
    own = copy.deepcopy(TRAINJOB)
    own["spec"]["trainer"]["env"] = [{"name": "MLFLOW_EXPERIMENT_NAME", "value": "mine"}]
    jobs = job("launcher", [{"name": "node"}], STEP), job("node", [{"name": "node"}])
    for launcher_trains in (True, False):
        found = explained(runtime(*jobs, mlPolicy={"mpi": {"runLauncherAsNode": launcher_trains}}), own)
        assert [one["pod"] for one in found] == ["TrainJob finetune (launcher)", "TrainJob finetune (node)"]
        sources = [variables(one)["MLFLOW_EXPERIMENT_NAME"]["source"] for one in found]
        assert sources == ["already in the pod", "already in the pod" if launcher_trains else "workload"]


def test_labels_and_annotations_by_runtime_patches_affect_the_decision() -> None:
    trainjob = patched(
        {"labels": {"mlflow-enabled": "true"}, "annotations": {"mlflow.kubeflow.org/experiment": "from-the-patch"}}
    )
    (found,) = explained(TORCH, trainjob, arguments=[])
    assert found["reason"] == "wired_by_pod_label"
    assert variables(found)["MLFLOW_EXPERIMENT_NAME"]["source"] == "pod annotation"
    opted_out = runtime(job("node", [{"name": "node"}], STEP, {"labels": {"mlflow-enabled": "false"}}))
    assert explained(opted_out, TRAINJOB)[0]["reason"] == "opted_out"
    assert explained(opted_out, trainjob)[0]["reason"] == "wired_by_pod_label"


def test_containers_of_a_patch_are_found_by_their_name() -> None:
    spec = {"containers": [{"name": "node", "volumeMounts": []}], "initContainers": [{"name": "prepare"}]}
    (found,) = explained(TORCH, patched({}, spec))
    assert [container["name"] for container in found["containers"]] == ["node"]


def test_the_joined_pod_says_what_the_captured_one_says() -> None:
    real = pod("real/trainer-2.3.0-torch-label-by-runtimepatches.node-0.admissionreview.json")
    trainjob = patched({"labels": {"mlflow-enabled": "true"}, "annotations": {}})
    trainjob["metadata"]["name"] = real["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"]
    captured = {**real, "metadata": {**real["metadata"], "annotations": {}}}
    ours, theirs = [variables(explained(*documents, arguments=[])[0]) for documents in ((TORCH, trainjob), (captured,))]
    contexts = [json.loads(one.pop("MLFLOW_RUN_CONTEXT")["value"]) for one in (ours, theirs)]
    assert ours == theirs
    assert contexts[1].pop("mlflow.runName").startswith(contexts[0].pop("mlflow.runName"))
    assert contexts[0].items() <= contexts[1].items()
    assert contexts[1].keys() - contexts[0].keys() == {
        "jobset.uid",
        "trainjob.node_index",
        "trainjob.restart_attempt",
    }


LABEL = {"mlflow-enabled": "true"}
RIGHT = (
    "move it to /spec/runtimePatches/*/trainingRuntimeSpec/template/spec/replicatedJobs/*/template/spec/template/"
    "metadata/labels, or to the pod template of its runtime"
)


@pytest.mark.parametrize("with_runtime", [True, False])
def test_a_label_that_does_not_reach_the_pods_is_named_with_its_place(with_runtime: bool) -> None:
    wrong = copy.deepcopy(TRAINJOB)
    wrong["metadata"]["labels"] = LABEL
    wrong["spec"]["podTemplateOverrides"] = [{"targetJobs": [{"name": "node"}], "metadata": {"labels": LABEL}}]
    wrong["spec"]["runtimePatches"] = [{"trainingRuntimeSpec": {"template": {"metadata": {"labels": LABEL}}}}]
    text = yaml.safe_dump_all([wrong, *([TORCH] if with_runtime else []), {"kind": "Pod", "spec": {"containers": []}}])
    for command in ("explain", "inject"):
        shown = call(command, "-f", "-", text=text).output
        for place in (
            "of the TrainJob",
            "at /spec/podTemplateOverrides/0/metadata/labels of the TrainJob",
            "at /spec/runtimePatches/0/trainingRuntimeSpec/template/metadata/labels of the TrainJob",
        ):
            assert f"the label mlflow-enabled {place} does not reach its pods: {RIGHT}" in shown
    assert (
        "does not reach its pods"
        not in call("explain", "-f", "-", text=yaml.safe_dump(patched({"labels": LABEL}))).output
    )


def test_the_runtime_is_the_one_to_which_the_trainjob_refers() -> None:
    own = runtime(job("own", [{"name": "node"}]), kind="TrainingRuntime")
    own["metadata"]["namespace"] = "team"
    elsewhere = runtime(job("other", [{"name": "node"}]), kind="TrainingRuntime")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    found = explained(elsewhere, own, TORCH, TRAINJOB)
    assert found[-1]["pod"] == "TrainJob finetune (node)"
    assert [one["pod"] for one in found[:2]] == ["TrainingRuntime torch (other)", "TrainingRuntime torch (own)"]
    refers = copy.deepcopy(TRAINJOB)
    refers["spec"]["runtimeRef"]["kind"] = "TrainingRuntime"
    pods = [one["pod"] for one in explained(elsewhere, own, TORCH, refers)]
    assert pods == ["TrainingRuntime torch (other)", "ClusterTrainingRuntime torch (node)", "TrainJob finetune (own)"]
    alone = call("explain", "-f", "-", text=yaml.safe_dump(refers))
    assert "pass the runtime too (kubectl get trainingruntime torch --namespace team -o yaml), or a pod" in alone.stderr


def test_inject_changes_the_runtime_and_not_the_trainjob() -> None:
    text = yaml.safe_dump_all([TRAINJOB, TORCH])
    result = call("inject", "-f", "-", *LABELLED, text=text)
    first, second = yaml.safe_load_all(result.stdout)
    assert first == TRAINJOB
    assert "MLFLOW_TRACKING_URI" in str(second)
    assert "finetune" not in str(second)
    assert "'B'" not in str(second)  # a variable of this TrainJob only
    assert (
        "TrainJob finetune: its pods come from its runtime; the webhook wires them when they are created"
        in result.stderr
    )


@pytest.mark.parametrize("with_runtime", [True, False])
def test_an_annotation_that_does_not_reach_the_pods_is_named_with_its_place(with_runtime: bool) -> None:
    annotations = {"mlflow.kubeflow.org/experiment": "nightly", "mlflow.kubeflow.org/lineage": "false"}
    wrong = patched({"annotations": {"mlflow.kubeflow.org/lineage": "false"}})
    wrong["metadata"]["annotations"] = annotations
    wrong["spec"]["annotations"] = {"mlflow.kubeflow.org/workspace": "a"}
    shown = call("explain", "-f", "-", text=yaml.safe_dump_all([wrong, *([TORCH] if with_runtime else [])])).output
    right = RIGHT.replace("labels", "annotations")
    assert f"the annotation mlflow.kubeflow.org/experiment of the TrainJob does not reach its pods: {right}" in shown
    assert (
        f"mlflow.kubeflow.org/workspace at /spec/annotations of the TrainJob does not reach its pods: {right}" in shown
    )
    assert ("the annotation mlflow.kubeflow.org/lineage" in shown) is not with_runtime
