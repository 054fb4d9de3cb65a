"""The names and experiments of runs, in the patch and as the kubelet expands it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import jsonpatch
import pytest
import yaml

from tests.support.kubelet import container_environment
from tests.support.pods import FOLDER, KFP, TRAINJOB, pod
from webhook.core.configuration import Namespace, Platform
from webhook.core.controllers import CONTROLLERS
from webhook.core.decision import decide
from webhook.core.lineage import RUN_NAME_LIMIT, TAG_LIMIT
from webhook.core.nodes import parse_node
from webhook.core.patch import patch
from webhook.core.review import decode_pod

LABELLED = Namespace("team-a", {"mlflow-enabled": "true"}, {})
CASES = sorted((FOLDER / "controllers").glob("*.yaml"))
DAG = "workflows.argoproj.io/node-name"


class Found(NamedTuple):
    """The environment of one container, as far as it affects its runs."""

    experiment: str | None
    run_name: str | None
    tags: dict[str, str]


def environments(document: dict[str, Any], platform: Platform) -> dict[str, dict[str, str]]:
    """Wire a pod, and give each wired container's environment as the kubelet would."""
    seen = decode_pod(json.dumps(document).encode())
    operations = patch(seen, decide(seen, namespace=LABELLED, platform=platform))
    after = jsonpatch.apply_patch(copy.deepcopy(document), operations)
    secrets = {"mlflow-token": {"token": "t"}}
    found = {
        container["name"]: container_environment(after, container["name"], secrets=secrets)
        for container in after["spec"]["containers"]
    }
    return {name: environment for name, environment in found.items() if "MLFLOW_TRACKING_URI" in environment}


def lineage(document: dict[str, Any], **platform: Any) -> Found:
    (environment, *_) = environments(document, Platform(**platform)).values()
    tags = json.loads(environment["MLFLOW_RUN_CONTEXT"])
    del tags["k8s.pod.name"]
    return Found(environment.get("MLFLOW_EXPERIMENT_NAME"), tags.pop("mlflow.runName", None), tags)


def other(**metadata: Any) -> dict[str, Any]:
    labels = {**metadata.pop("labels", {}), "mlflow-enabled": "true"}
    return {"metadata": {"name": "p", **metadata, "labels": labels}, "spec": {"containers": [{"name": "c"}]}}


def component(node_name: str) -> dict[str, Any]:
    document = copy.deepcopy(pod(KFP))
    document["metadata"]["annotations"][DAG] = node_name
    return document


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_pods_of_each_controller_share_what_it_calls_them(case: Path) -> None:
    document, expected = yaml.load_all(case.read_text(), Loader=yaml.CSafeLoader)
    assert list(environments(document, Platform())) == expected["wired"]
    assert lineage(document) == Found(expected["experiment"], expected["run_name"], expected["tags"])


def test_there_is_a_pod_of_each_controller() -> None:
    assert all(case.read_text().startswith("# Written after ") for case in CASES)
    told = {tag for case in CASES for tag in list(yaml.load_all(case.read_text(), Loader=yaml.CSafeLoader))[1]["tags"]}
    assert [controller for controller in CONTROLLERS if not told & controller.tags.keys()] == []


@pytest.mark.parametrize(
    ("node_name", "run_name", "tags"),
    [
        (
            "W(0).root(0).train(0).executor(0)",
            "train-d308ca25",
            {"kfp.task_name": "train", "kfp.task_path": "train"},
        ),
        (
            "W(0).root(0).inner-pipeline(0).train(0).executor(0)",
            "train-d308ca25",
            {"kfp.task_name": "train", "kfp.task_path": "inner-pipeline/train"},
        ),
        (
            "W(0).root(0).exit-handler-1.onExit(0).notify(0).executor(0)",
            "notify-d308ca25",
            {"kfp.task_name": "notify", "kfp.task_path": "exit-handler-1/onExit/notify"},
        ),
        (
            "W(0).root(0).exit-handler-1(0).for-loop-3(0).iteration-iterations(1:1)(0).iteration-item(0)"
            ".train(0).executor(0)",
            "train[1]-d308ca25",
            {
                "kfp.task_name": "train",
                "kfp.task_path": "exit-handler-1/for-loop-3/train",
                "kfp.loop_iteration": "1",
            },
        ),
        (
            "W(0).root(0).for-loop-1(0).iteration-iterations(2:2)(0).iteration-item(0).for-loop-3(0)"
            ".iteration-iterations(0:0)(1).iteration-item(0).train(0).executor(2)",
            "train[2.0]-d308ca25",
            {
                "kfp.task_name": "train",
                "kfp.task_path": "for-loop-1/for-loop-3/train",
                "kfp.loop_iteration": "2.0",
            },
        ),
        (
            "W.root.train.executor",
            "train-d308ca25",
            {"kfp.task_name": "train", "kfp.task_path": "train"},
        ),
        ("", "d308ca25", {}),
    ],
    ids=["task", "sub-pipeline", "exit-handler", "loop", "loop-in-a-loop", "without-retries", "nameless"],
)
def test_tasks_with_the_same_name_are_distinguished_by_path_and_iteration(
    node_name: str, run_name: str, tags: dict[str, str]
) -> None:
    found = lineage(component(node_name))
    assert found.run_name == run_name
    assert found.tags == {
        "kfp.pipeline_name": "mlflow-training-pipeline",
        "kfp.pipeline_run_id": "d308ca25-ab18-46a3-a0ec-49f5d322c2d8",
        **tags,
    }


DASHBOARD = "https://kubeflow.example.com/_/pipeline/?ns={namespace}#/runs/details/{run_id}"


def test_each_run_of_a_pipeline_has_the_url_of_its_pipeline_run() -> None:
    found = lineage(pod(KFP), pipeline_run_url=DASHBOARD)
    assert found.tags["kfp.pipeline_run_url"] == (
        "https://kubeflow.example.com/_/pipeline/?ns=team-a#/runs/details/d308ca25-ab18-46a3-a0ec-49f5d322c2d8"
    )
    assert "kfp.pipeline_run_url" not in lineage(pod(KFP)).tags
    assert "kfp.pipeline_run_url" not in lineage(pod(TRAINJOB), pipeline_run_url=DASHBOARD).tags


def test_a_run_id_cannot_change_the_pages_address() -> None:
    document = copy.deepcopy(pod(KFP))
    command = next(container for container in document["spec"]["containers"] if container["name"] == "main")["command"]
    command[command.index("--run_id") + 1] = "../../$(HOME)?x={namespace}&y#"
    found = lineage(document, pipeline_run_url="https://h/$p/{run_id}")
    assert found.tags["kfp.pipeline_run_url"] == ("https://h/$p/..%2F..%2F%24%28HOME%29%3Fx%3D%7Bnamespace%7D%26y%23")


@pytest.mark.parametrize(
    ("name", "experiment"),
    [
        ("q3f9a01bc47e", "trainjobs"),
        ("z00000000000", "trainjobs"),
        ("13f9a01bc47e", "13f9a01bc47e"),
        ("q3f9a01bc47", "q3f9a01bc47"),
        ("q3f9a01bc47e0", "q3f9a01bc47e0"),
        ("q3f9a01bc47g", "q3f9a01bc47g"),
        ("finetune", "finetune"),
    ],
)
def test_only_a_trainjobs_name_that_the_sdk_generated_is_not_an_experiment(name: str, experiment: str) -> None:
    document = copy.deepcopy(pod(TRAINJOB))
    document["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"] = name
    found = lineage(document)
    assert found.experiment == experiment
    assert (found.tags["trainjob.name"], found.run_name) == (name, f"{name}-node-0")


@pytest.mark.parametrize(
    ("label", "name", "experiment"),
    [
        ("workflows.argoproj.io/workflow", "llama-tiny", "llama-tiny"),  # a, i and y are in no name made up
        ("workflows.argoproj.io/workflow", "llama-x7k2p", "llama"),
        ("workflows.argoproj.io/workflow", "llama-1795595400", "llama"),
        ("workflows.argoproj.io/workflow", "llama-2024", "llama-2024"),
        ("ray.io/cluster", "research-small", "research-small"),
        ("ray.io/cluster", "research-raycluster-x7k2p", "research"),
        ("ray.io/cluster", "research-x7k2p", "research"),
        ("sparkoperator.k8s.io/app-name", "etl-x7k2p", "etl-x7k2p"),
        ("sparkoperator.k8s.io/app-name", "spark-job-0a1b2c3d", "spark-job"),
        ("sparkoperator.k8s.io/app-name", "spark-job-nightly2", "spark-job-nightly2"),
        ("sparkoperator.k8s.io/app-name", "etl-0a1b2c3d", "etl-0a1b2c3d"),
        ("katib.kubeflow.org/trial", "search-x7k2pq4w", "search"),
        ("katib.kubeflow.org/trial", "q3f9a01bc47e-x7k2pq4w", "optimizationjobs"),
        ("katib.kubeflow.org/experiment", "q3f9a01bc47e", "optimizationjobs"),
        ("katib.kubeflow.org/experiment", "q3f9a01bc47", "q3f9a01bc47"),
        ("tekton.dev/pipeline", "train-lstm2", "train-lstm2"),
        ("dask.org/cluster-name", "dask-jovyan-a27fcecd-1", "dask-jovyan"),
        ("dask.org/cluster-name", "features-a27fcecd-1", "features-a27fcecd-1"),
    ],
)
def test_the_suffix_that_a_controller_adds_for_each_run_is_left_out_of_the_experiment(
    label: str, name: str, experiment: str
) -> None:
    assert lineage(other(labels={label: name})).experiment == experiment


def test_a_pipeline_inside_a_loop_is_part_of_the_path() -> None:
    node = parse_node("W(0).root(0).for-loop-1(0).iteration-iterations(2:2)(0).iteration-item(0).inner(0).train(0)")
    assert (node.path, node.iteration) == (("for-loop-1", "inner", "train"), "2")


def test_a_component_without_argos_annotation_has_no_task() -> None:
    document = copy.deepcopy(pod(KFP))
    document["metadata"]["annotations"] = {}
    found = lineage(document)
    assert found.run_name == "d308ca25"
    assert not {"kfp.task_name", "kfp.task_path"} & found.tags.keys()


@pytest.mark.parametrize(
    ("workflow", "experiment"),
    [
        ("dailyretrain8lpdn-1-3043484173", "dailyretrain8lpdn"),
        ("dailyretrain8lpdn-27-98765432", "dailyretrain8lpdn"),
        ("retrain-x7k2p", "retrain"),
        ("retrain-3-10", "retrain-3-10"),
    ],
)
def test_the_recurring_runs_of_kfp_v1_share_an_experiment(workflow: str, experiment: str) -> None:
    labels = {"workflows.argoproj.io/workflow": workflow, "pipelines.kubeflow.org/pipeline-sdk-type": "kfp"}
    assert lineage(other(labels=labels)).experiment == experiment


@pytest.mark.parametrize("node_name", ["W", "", "executor"])
def test_a_component_of_kfp_v1_whose_node_has_no_task_gets_no_task_name(node_name: str) -> None:
    labels = {"workflows.argoproj.io/workflow": "add-x7k2p", "pipelines.kubeflow.org/pipeline-sdk-type": "kfp"}
    found = lineage(other(labels={**labels, "pipeline/runid": "d308ca25-ab18"}, annotations={DAG: node_name}))
    assert found.tags.get("kfp.task_name") is None
    assert found.run_name == "d308ca25"


@pytest.mark.parametrize("unusable", ["", "   ", "a\nb", "\x00", "x" * 501])
def test_a_label_that_cannot_be_an_experiment_leaves_the_choice_to_the_next(unusable: str) -> None:
    labels = {"dag_id": unusable, "task_id": "t", "training.kubeflow.org/job-name": unusable, "app": "tuner"}
    assert lineage(other(labels=labels)) == Found("tuner", None, {})
    owner = {"kind": "Experiment", "name": unusable, "controller": True}
    assert lineage(other(ownerReferences=[owner])).experiment == "p"


def test_an_owner_that_is_not_the_controller_names_nothing() -> None:
    owners = [{"kind": "Queue", "name": "gpu"}, {"kind": "Experiment", "name": "resnet", "controller": True}]
    assert lineage(other(ownerReferences=owners)).experiment == "resnet"
    assert lineage(other(ownerReferences=owners[:1])).experiment == "p"


@pytest.mark.parametrize("outer", [{"dag_id": "nightly"}, {"prefect.io/flow-name": " "}])
def test_labels_that_do_not_identify_an_outer_controller_leave_the_run_to_the_inner_one(outer: dict[str, str]) -> None:
    found = lineage(other(labels={**outer, "dask.org/cluster-name": "c"}))
    assert (found.experiment, found.tags["dask.cluster_name"]) == ("c", "c")


def test_general_labels_alone_do_not_identify_a_controller() -> None:
    labels = {"dag_id": "d", "group-name": "g", "component": "c", "batch.kubernetes.io/job-completion-index": "0"}
    assert lineage(other(labels=labels)) == Found("p", None, {})


def test_a_queue_is_a_tag_and_no_experiment() -> None:
    found = lineage(other(labels={"kueue.x-k8s.io/queue-name": "gpu", "app": "tuner"}))
    assert found == Found("tuner", None, {"kueue.queue_name": "gpu"})


def test_names_and_tags_fit_into_mlflows_limits() -> None:
    annotations = {"metaflow/flow_name": "f" * 500, "metaflow/run_id": "r" * 9000, "metaflow/step_name": "a\tb"}
    found = lineage(other(annotations=annotations))
    assert found.experiment == "f" * 500
    assert found.run_name == "f" * RUN_NAME_LIMIT
    assert found.tags == {
        "metaflow.flow_name": "f" * 500,
        "metaflow.run_id": "r" * TAG_LIMIT,
        "metaflow.step_name": "a b",
    }


@pytest.mark.parametrize(
    ("name", "experiment"),
    [
        ("a\u00a0b\n", "a b "),
        ("\x00", "mlflow-training-pipeline-2tw4w"),
        ("x" * 501, "x" * 500),
        (None, "mlflow-training-pipeline-2tw4w"),
    ],
    ids=["unprintable", "nothing printable", "long", "missing"],
)
def test_a_pipeline_with_any_name_has_an_experiment(name: str | None, experiment: str) -> None:
    document = copy.deepcopy(pod(KFP))
    command = next(container for container in document["spec"]["containers"] if container["name"] == "main")["command"]
    place = command.index("--pipeline_name")
    command[place : place + 2] = [] if name is None else ["--pipeline_name", name]
    assert lineage(document).experiment == experiment


@pytest.mark.parametrize("value", ["$(HOME)", "$$", "$", 'say "no"', "back\\slash", "größe", "a/b:c"])
def test_the_value_of_a_label_reaches_the_run_unchanged(value: str) -> None:
    found = lineage(other(annotations={"metaflow/flow_name": value, "metaflow/run_id": value}))
    assert found == Found(value, f"{value}-{value}", {"metaflow.flow_name": value, "metaflow.run_id": value})


@pytest.mark.timeout(60)  # milliseconds when the time is linear, minutes when it grows with the square
@pytest.mark.parametrize(
    "piece",
    ["(", ")", "(:", "(1:", "a(", ".(", "()", ".", "a.", "-", "(1:1)(0).a", "(a)", "a((b)", "a(b", "a(()"],
)
def test_no_node_name_makes_the_decision_slow(piece: str) -> None:
    lineage(component(piece * (500_000 // len(piece))))


@pytest.mark.parametrize(
    ("node_name", "task"),
    [
        ("W(0).root(0).train-model(0).executor(0)", "train-model"),
        ("W(0).root(0).train-model-2(0).executor(0)", "train-model-2"),
        ("W(0).root(0).condition-1(0).train-model-3(0).executor(0)", "train-model-3"),
        ("W(0).root(0).inner-pipeline(0).train-model(0).executor(0)", "train-model"),
        ("W(0).root(0).exit-handler-1.onExit(0).notify(0).executor(0)", "notify"),
        (
            "W(0).root(0).exit-handler-1(0).for-loop-3(0).iteration-iterations(1:1)(0).iteration-item(0)"
            ".train-model(0).executor(0)",
            "train-model",
        ),
        ("W.root.train-model.executor", "train-model"),
        ("W.root", "root"),  # a task of a workflow that is not KFP's
        ("W.root.executor", "root"),
        ("W(1).root(1).train-model(2).executor(0)", "train-model"),
        ("W.train(0:max(1.5).x)(2)", "train"),  # the value of an iteration is the user's
        ("W[1].train(3:[(1.0, 2), (3.5, 4)])", "train"),
        ("", None),
        ("W", None),
        ("executor", None),
    ],
)
def test_the_task_is_read_from_argos_node_name(node_name: str, task: str | None) -> None:
    assert parse_node(node_name).task == task


@pytest.mark.parametrize(
    ("metadata", "experiment"),
    [
        ({"name": "debug"}, "debug"),
        ({"generateName": "d-5d9c7f8b6-", "labels": {"pod-template-hash": "5d9c7f8b6"}}, "d"),
        ({"generateName": "r-7d5f9c-", "labels": {"rollouts-pod-template-hash": "7d5f9c"}}, "r"),
        ({"name": "web-0", "generateName": "web-"}, "web"),
        ({"generateName": "train-", "labels": {"batch.kubernetes.io/job-name": "train"}}, "train"),
        ({"generateName": "cj-29712345-", "labels": {"batch.kubernetes.io/job-name": "cj-29712345"}}, "cj"),
        ({"generateName": "day-20261123-", "labels": {"job-name": "day-20261123"}}, "day-20261123"),
        ({"generateName": "js-w-0-0-", "labels": {"jobset.sigs.k8s.io/jobset-name": "js", "job-name": "js-w-0"}}, "js"),
        ({"generateName": "d-5d9c7f8b6-", "labels": {"app.kubernetes.io/name": "tuner"}}, "tuner"),
        ({"generateName": "x-", "ownerReferences": [{"kind": "Job", "name": "cj-29712345", "controller": True}]}, "cj"),
        ({"name": "modelX"}, "modelX"),
        ({"generateName": "run-None-"}, "run-None"),
        ({"generateName": "runXXXX-"}, "runXXXX"),
        ({}, None),
    ],
)
def test_the_runs_of_other_pods_share_an_experiment_that_outlives_one_pod(
    metadata: dict[str, Any], experiment: str | None
) -> None:
    labels = {**metadata.get("labels", {}), "mlflow-enabled": "true"}
    found = lineage({"metadata": {**metadata, "labels": labels}, "spec": {"containers": [{"name": "c"}]}})
    assert found.experiment == experiment


@pytest.mark.parametrize(
    ("job", "experiment"),
    [
        ("finetune-x7k2p", "finetune"),
        ("finetune-model", "finetune-model"),
        ("nightly-28912345", "nightly"),
        ("nightly-x7k2p-28912345", "nightly-x7k2p"),
        ("nightly-28912345-x7k2p", "nightly-28912345"),
    ],
)
def test_of_a_jobs_name_one_generated_end_is_left_out(job: str, experiment: str) -> None:
    labels = {"mlflow-enabled": "true", "batch.kubernetes.io/job-name": job}
    document = {"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [{"name": "main"}]}}
    assert environments(document, Platform())["main"]["MLFLOW_EXPERIMENT_NAME"] == experiment
