"""Objects with ``generateName``: what is known about their pods before the API server chooses the name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.webhook.cli.calling import LABELLED, on
from tests.webhook.files.test_kinds import ASKS, IDS, TEMPLATES, document
from tests.webhook.files.test_trainjobs import TORCH, TRAINJOB, explained
from tests.webhook.files.test_trials import PYTORCHJOB, experiment, tags, values
from webhook.core.lineage import Lineage
from webhook.core.workload import recognise
from webhook.files.documents import find
from webhook.files.kinds import Kind, Template

ASKING = {"mlflow-enabled": "true"}
KEEPS_THE_WHOLE_NAME = ["PyTorchJob", "MPIJob", "JobSet", "LeaderWorkerSet", "Notebook", "Rollout", "RayCronJob"]


def generated(kind: Kind, template: Template, begins: str = "bert-", pod: Any = ASKS) -> dict[str, Any]:
    made: dict[str, Any] = document(kind, template, pod)
    del made["metadata"]["name"]
    made["metadata"]["generateName"] = begins
    return made


def of_kind(name: str) -> tuple[Kind, Template]:
    return next((kind, template) for kind, template in TEMPLATES if kind.name == name)


def lineage_of(found: dict[str, Any]) -> Lineage:
    pod = find([found]).pods[0].pod
    return recognise(pod).lineage(pod)


def env_of(written: dict[str, Any]) -> dict[str, str]:
    (container,) = find([written]).pods[0].pod.containers
    return {variable.name: variable.value or "" for variable in container.env or ()}


@pytest.mark.parametrize(("kind", "template"), TEMPLATES, ids=IDS)
def test_the_lineage_is_that_of_a_real_name_with_a_placeholder_at_its_end(kind: Kind, template: Template) -> None:
    real = lineage_of(document(kind, template, name="bert-x7k2p"))
    shown = lineage_of(generated(kind, template))
    assert shown.experiment == (real.experiment or "").replace("x7k2p", "xxxxx")
    assert shown.tags == {tag: value.replace("x7k2p", "xxxxx") for tag, value in real.tags.items()}


@pytest.mark.parametrize(("kind", "template"), TEMPLATES, ids=IDS)
def test_inject_writes_no_name_that_is_not_known(kind: Kind, template: Template) -> None:
    made = generated(kind, template)
    (written,) = json.loads(on("inject", made, *LABELLED, "-o", "json").stdout)
    assert "MLFLOW_TRACKING_URI" in str(written)
    assert "xxxxx" not in str(written)
    assert on("inject", written, *LABELLED, "-o", "patch").stdout.count('"op"') == 0


@pytest.mark.parametrize("name", KEEPS_THE_WHOLE_NAME)
def test_explain_shows_the_placeholder_and_says_what_inject_leaves_out(name: str) -> None:
    made = generated(*of_kind(name))
    if name == "RayCronJob":
        made["metadata"]["name"] = "bert"
    (found,) = explained(made)
    assert found["pod"].startswith(f"{name} bert")
    assert "bert-xxxxx" in (values(found)["MLFLOW_EXPERIMENT_NAME"], tags(found).get("ray.originated_from_cr_name"))
    (note,) = found["notes"]
    assert "bert-xxxxx" in note
    assert note.endswith("inject leaves out what depends on that name, and the webhook adds it to the pods")
    env = env_of(json.loads(on("inject", made, "-o", "json").stdout)[0])
    assert ("MLFLOW_EXPERIMENT_NAME" in env) is (name == "RayCronJob")
    assert "MLFLOW_RUN_CONTEXT" not in env or name == "Rollout"


@pytest.mark.parametrize("name", ["Job", "RayJob", "RayCluster", "RayService"])
def test_an_experiment_from_which_the_webhook_cuts_the_generated_end_is_written(name: str) -> None:
    made = generated(*of_kind(name))
    (found,) = explained(made)
    assert values(found)["MLFLOW_EXPERIMENT_NAME"] == "bert"
    env = env_of(json.loads(on("inject", made, "-o", "json").stdout)[0])
    assert env["MLFLOW_EXPERIMENT_NAME"] == "bert"
    assert ("MLFLOW_RUN_CONTEXT" in env) is (name == "Job")
    assert ("inject leaves out" in str(found["notes"])) is (name != "Job")


def test_a_job_of_a_cronjob_keeps_all_of_the_name_before_its_time() -> None:
    kind, template = of_kind("CronJob")
    assert lineage_of(document(kind, template, name="train-lstm2")).experiment == "train-lstm2"
    assert lineage_of(generated(kind, template)).experiment == "bert-xxxxx"


def test_the_rayjob_of_a_raycronjob_names_the_experiment_and_not_a_label_of_the_template() -> None:
    labelled = {"metadata": {"labels": {"app": "shared"}}, "spec": {"containers": [{"name": "ray"}]}}
    kind, _ = of_kind("RayCronJob")
    for template in kind.templates[:2]:  # the third is that of a Job, whose pods have no label of KubeRay
        assert lineage_of(document(kind, template, labelled, name="train-lstm2")).experiment == "train-lstm2"


def test_an_annotation_names_the_experiment_although_the_name_is_generated() -> None:
    metadata = {"labels": ASKING, "annotations": {"mlflow.kubeflow.org/experiment": "common"}}
    made = generated(*of_kind("PyTorchJob"), pod={**ASKS, "metadata": metadata})
    assert env_of(json.loads(on("inject", made, "-o", "json").stdout)[0])["MLFLOW_EXPERIMENT_NAME"] == "common"


@pytest.mark.parametrize("of", ["namespace", "pod"])
@pytest.mark.parametrize("name", ["PyTorchJob", "TrainingRuntime"])
def test_an_annotation_for_lineage_does_not_bring_back_names_that_are_not_known(of: str, name: str) -> None:
    asks = {"mlflow.kubeflow.org/lineage": "true"}
    pod = {**ASKS, "metadata": {"labels": ASKING, "annotations": asks if of == "pod" else {}}}
    arguments = ["--namespace-annotation", "mlflow.kubeflow.org/lineage=true"] if of == "namespace" else []
    (written,) = json.loads(on("inject", generated(*of_kind(name), pod=pod), *arguments, "-o", "json").stdout)
    assert "MLFLOW_RUN_CONTEXT" not in env_of(written)
    assert (asks.items() <= dict(find([written]).pods[0].pod.annotations).items()) is (of == "pod")


def test_the_end_of_a_long_beginning_is_left_out_as_by_the_api_server() -> None:
    shown = lineage_of(generated(*of_kind("PyTorchJob"), begins="a" * 80)).experiment
    assert shown == "a" * 58 + "xxxxx"


def test_a_generated_name_of_a_trainjob_or_an_experiment_is_shown_with_the_placeholder_too() -> None:
    (node,) = explained({**TRAINJOB, "metadata": {"generateName": "tune"}}, TORCH, arguments=LABELLED)
    assert values(node)["MLFLOW_EXPERIMENT_NAME"] == "tunexxxxx"
    assert node["notes"] == [
        "not known before a pod is created: the index of each node, and the end of tunexxxxx, which the API server "
        "chooses"
    ]
    search = experiment(PYTORCHJOB)
    search["metadata"] = {"generateName": "search-"}
    (master, _) = explained(search)
    assert values(master)["MLFLOW_EXPERIMENT_NAME"] == "search-xxxxx"
    assert master["notes"] == [
        "not known before a pod is created: the index of each replica, and the name of each trial, shown as "
        "search-xxxxx-TRIAL, and the end of search-xxxxx, which the API server chooses"
    ]


def test_a_namespace_and_a_runtime_with_a_generated_name_are_those_of_no_object() -> None:
    namespace = {"kind": "Namespace", "metadata": {"generateName": "team-", "labels": {"mlflow-enabled": "true"}}}
    assert not find([namespace]).namespaces
    runtime = {**TORCH, "metadata": {"generateName": TORCH["metadata"]["name"]}}
    assert [pod.joined for pod in find([TRAINJOB, runtime]).pods] == [False]
