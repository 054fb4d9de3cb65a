"""Pod templates of every kind: where they are, and what is known about their pods."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pods import FOLDER
from tests.webhook.cli.calling import LABELLED, call, on
from webhook.core.configuration import Namespace, Platform
from webhook.core.lineage import other_lineage
from webhook.core.review import decode_pod
from webhook.files.documents import find
from webhook.files.injection import inject
from webhook.files.kinds import KINDS, OTHERS, RUNTIME_JOBS, Kind, Template
from webhook.files.loading import DocumentError

LABEL = {"mlflow-enabled": "true"}
ASKS = {"metadata": {"labels": LABEL}, "spec": {"containers": [{"name": "c"}]}}
TEMPLATES = [(kind, template) for kind in KINDS if kind.name != "Pod" for template in kind.templates]
IDS = [f"{kind.group}/{kind.name}{template.path}" for kind, template in TEMPLATES]


def nested(path: str, value: Any, part: str = "Worker") -> Any:
    """Return an object with a value at a path; ``*`` stands for a key of replica specs, else for an item of a list."""
    step, _, rest = path.removeprefix("/").partition("/")
    if not step:
        return value
    if step.endswith("ReplicaSpecs"):
        return {step: {part: nested(rest.removeprefix("*"), value)}}
    if rest.startswith("*"):
        names = {"name": part, "groupName": part}
        return {step: [{**names, **nested(rest.removeprefix("*"), value)}]}
    return {step: nested(rest, value, part)}


def document(
    kind: Kind, template: Template, pod: dict[str, Any] = ASKS, name: str = "job", part: str = "Worker"
) -> Any:
    made = nested(template.path, copy.deepcopy(pod), part)
    version = f"{kind.group}/v1" if kind.group else "v1"
    metadata = {"name": name, **({"labels": LABEL} if kind.metadata and pod is ASKS else {})}
    return {"apiVersion": version, "kind": kind.name, "metadata": metadata, **made}


def containers_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a value: the mapping or list, and the key or index in it."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from containers_of(item)


KEYS = ["metadata", "labels", "annotations", "spec", "template", "containers", "name", "env", "items", "kind", "dag"]
WHOLE = [
    *(document(kind, template) for kind, template in TEMPLATES),
    {"kind": "PodList", "items": [{"metadata": {"labels": LABEL}, "spec": {"containers": [{"name": "c", "env": []}]}}]},
    {"kind": "Namespace", "metadata": {"name": "a", "labels": LABEL}},
    {
        "kind": "TrainJob",
        "metadata": {"name": "t"},
        "spec": {
            "runtimeRef": {"name": "job"},
            "trainer": {"env": [{"name": "A"}], "command": ["a"]},
            "runtimePatches": [
                {
                    "trainingRuntimeSpec": nested(
                        f"{RUNTIME_JOBS.removeprefix('/spec')}/*/template/spec/template",
                        {"metadata": {"labels": LABEL}, "spec": {"containers": [{"name": "node"}]}},
                    )
                }
            ],
        },
    },
    {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "e", "labels": LABEL},
        "spec": {"trialTemplate": {"trialSpec": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": ASKS}}}},
    },
    *yaml.safe_load_all((Path(__file__).parents[2] / "data" / "pipelines" / "pipeline-version.yaml").read_text()),
]
RUNTIME = next(document(kind, template) for kind, template in TEMPLATES if kind.name == "ClusterTrainingRuntime")


@pytest.mark.parametrize(("kind", "template"), TEMPLATES, ids=IDS)
def test_a_template_is_wired_in_place_and_only_once(kind: Kind, template: Template) -> None:
    before = document(kind, template)
    (patch,) = json.loads(on("inject", before, "-o", "patch").stdout)
    written = on("inject", before).stdout
    (after,) = json.loads(call("inject", "-f", "-", "-o", "json", text=written).stdout)
    assert jsonpatch.apply_patch(before, patch["patch"]) == after == yaml.safe_load(written)
    pod_after = find([after]).pods[0].pod
    names = [variable.name for variable in pod_after.containers[0].env or ()]
    assert "MLFLOW_TRACKING_URI" in names
    assert "mlflow.kubeflow.org/decision" in pod_after.annotations
    assert call("inject", "-f", "-", text=written).stdout == written


@pytest.mark.parametrize(("kind", "template"), TEMPLATES, ids=IDS)
def test_the_same_kind_of_another_group_is_passed_over(kind: Kind, template: Template) -> None:
    other = {**document(kind, template), "apiVersion": "example.com/v1"}
    result = on("inject", other)
    assert yaml.safe_load(result.stdout) == other
    assert f"does not look into the kind {kind.name} of example.com" in result.stderr


@pytest.mark.parametrize(("kind", "template"), TEMPLATES, ids=IDS)
def test_a_label_above_the_template_gets_a_warning_that_it_does_not_reach_the_pods(
    kind: Kind, template: Template
) -> None:
    unlabelled = {"spec": {"containers": [{"name": "c"}]}}
    labelled = document(kind, template, unlabelled)
    labelled["metadata"]["labels"] = LABEL
    shown = on("explain", labelled).stdout
    complaint = f"the label mlflow-enabled of the {kind.name} does not reach its pods: move it to "
    assert (complaint in shown) is (kind.metadata is None)
    assert complaint not in on("explain", document(kind, template)).stdout


EXPERIMENT = "mlflow.kubeflow.org/experiment"
DECISION = "mlflow.kubeflow.org/decision"


@pytest.mark.parametrize(("kind", "template"), TEMPLATES, ids=IDS)
def test_an_annotation_above_the_template_gets_the_same_warning(kind: Kind, template: Template) -> None:
    annotated = document(kind, template)
    annotated["metadata"]["annotations"] = {EXPERIMENT: "nightly", DECISION: "{}", "example.com/other": "x"}
    shown = on("explain", annotated).stdout
    complaint = f"the annotation {EXPERIMENT} of the {kind.name} does not reach its pods: move it to "
    assert (complaint in shown) is (kind.metadata is None)
    assert shown.count("does not reach its pods") == (kind.metadata is None)
    with_both = document(kind, template, {**ASKS, "metadata": {"annotations": {EXPERIMENT: "nightly"}}})
    with_both["metadata"]["annotations"] = {EXPERIMENT: "nightly"}
    assert "does not reach its pods" not in on("explain", with_both).stdout


@pytest.mark.parametrize(
    ("path", "between"),
    [
        ("/spec/jobTemplate/spec/template", "/spec/jobTemplate/metadata/labels of the CronJob"),
        (
            "/spec/replicatedJobs/*/template/spec/template",
            "/spec/replicatedJobs/0/template/metadata/labels of the JobSet",
        ),
    ],
)
def test_a_label_between_the_object_and_its_template_is_named_with_its_place(path: str, between: str) -> None:
    kind, template = next((kind, template) for kind, template in TEMPLATES if template.path == path)
    labelled = document(kind, template, {"spec": {"containers": []}})
    inner = find([labelled]).pods[0].at
    assert inner is not None
    jsonpatch.apply_patch(
        labelled,
        [{"op": "add", "path": inner.removesuffix("/spec/template") + "/metadata", "value": {"labels": LABEL}}],
        in_place=True,
    )
    assert f"the label mlflow-enabled at {between} does not reach its pods" in on("explain", labelled).stdout


GROUPS = [template for kind, template in TEMPLATES if kind.name == "RayCluster"]


@pytest.mark.parametrize("template", GROUPS, ids=lambda template: str(template.path))
def test_a_group_of_ray_gives_the_labels_next_to_its_template_to_its_pods(template: Template) -> None:
    kind = next(kind for kind in KINDS if kind.name == "RayCluster")
    cluster = document(kind, template, {"spec": {"containers": [{"name": "ray"}]}})
    assert "skipped (not_enabled)" in on("explain", cluster).stdout
    group = next(iter(cluster["spec"].values()))
    group = group[0] if isinstance(group, list) else group
    group["labels"] = {**LABEL, "ray.io/cluster": "not-this"}
    (found,) = json.loads(on("explain", cluster, "-o", "json").stdout)
    assert (found["decision"], found["warnings"]) == ("wired", [])
    assert "not-this" not in str(found)


def test_a_notebook_gives_its_own_labels_to_its_pod_and_not_those_of_the_template() -> None:
    notebook: dict[str, Any] = {"kind": "Notebook", "apiVersion": "kubeflow.org/v1", "metadata": {"name": "lab"}}
    notebook["spec"] = {"template": ASKS}
    shown = on("explain", notebook).stdout
    assert "skipped (not_enabled)" in shown
    assert (
        "at /spec/template/metadata/labels of the Notebook does not reach its pods: move it to /metadata/labels"
        in shown
    )
    notebook["metadata"]["labels"] = LABEL
    (patch,) = json.loads(on("inject", notebook, "-o", "patch").stdout)
    assert {operation["path"].split("/containers")[0] for operation in patch["patch"]} == {
        "/spec/template/spec",
        "/metadata/annotations",
    }


@pytest.mark.parametrize("name", ["StatefulSet", "DaemonSet", "CloneSet"])
def test_an_owner_that_outlives_its_pods_names_the_experiment(name: str) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    labelled = {"metadata": {"labels": {**LABEL, "app": "shared-by-all"}}, "spec": {"containers": [{"name": "c"}]}}
    made = document(kind, kind.templates[0], labelled, name="resnet")
    assert other_lineage(find([made]).pods[0].pod).experiment == "resnet"


def test_a_patch_with_a_misplaced_label_gets_the_warning_too() -> None:
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": LABEL}}
    shown = on("inject", patch).stderr
    assert "Deployment web: the pod template is missing at /spec/template, as in a patch; not changed" in shown
    assert "of the Deployment does not reach its pods: move it to /spec/template/metadata/labels" in shown


def test_items_of_a_list_have_its_group_if_they_name_none() -> None:
    items = [{"metadata": {"name": "web"}, "spec": {"template": ASKS}}]
    ours = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": items}
    assert on("explain", ours).stdout.startswith("Deployment web in namespace default\n  wired")
    theirs = {**ours, "apiVersion": "example.com/v1"}
    assert "does not look into the kind Deployment of example.com" in on("explain", theirs).stderr


MADE = {
    "cronjob": "CronJob",
    "deployment": "Deployment",
    "jobset": "JobSet",
    "knative-service": "Service",
    "leaderworkerset": "LeaderWorkerSet",
    "mpijob-v1-launcher": "MPIJob",
    "mpijob-v2beta1-launcher": "MPIJob",
    "notebook": "Notebook",
    "paddlejob-worker": "PaddleJob",
    "pytorchjob-master": "PyTorchJob",
    "raycluster-worker": "RayCluster",
    "rayjob-head": "RayJob",
    "raycronjob-head": "RayCronJob",
    "tfjob-worker": "TFJob",
    "xgboostjob-worker": "XGBoostJob",
}


@pytest.mark.parametrize("capture", MADE)
def test_explain_says_the_same_about_a_template_as_about_its_pods(capture: str) -> None:
    pod, expected = yaml.safe_load_all((FOLDER / "controllers" / f"{capture}.yaml").read_text())
    kind = next(kind for kind in KINDS if kind.name == MADE[capture])
    labels = pod["metadata"]["labels"]
    part = labels.get("training.kubeflow.org/replica-type") or labels.get("training.kubeflow.org/job-role")
    part = part or labels.get("ray.io/group") or labels.get("jobset.sigs.k8s.io/replicatedjob-name") or "x"
    wanted = [template for template in kind.templates if "worker" in template.path.lower()] or list(kind.templates)
    template = kind.templates[0] if labels.get("ray.io/node-type") == "head" else wanted[0]
    made = document(kind, template, {"spec": pod["spec"]}, name=expected["experiment"], part=part.capitalize())
    lineage = other_lineage(find([made]).pods[0].pod)
    real = other_lineage(decode_pod(json.dumps(pod).encode()))
    assert lineage.experiment == real.experiment == expected["experiment"]
    told = {tag: value.replace("xxxxx", "x7k2p") for tag, value in lineage.tags.items() if tag != "ray.group"}
    unknown = {"training.operator_name", "training.replica_type", "knative.revision"}
    assert told.items() - real.tags.items() <= {(tag, told.get(tag)) for tag in unknown}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if len(kind.templates) > 1], ids=lambda kind: str(kind.name))
def test_the_templates_of_one_object_have_different_names(kind: Kind) -> None:
    whole: dict[str, Any] = {}
    for template in kind.templates:
        merge(whole, document(kind, template))
    shown = [pod.what for pod in find([whole]).pods]
    assert len(set(shown)) == len(kind.templates)
    assert all(what.startswith(f"{kind.name} job (") for what in shown)


def merge(into: dict[str, Any], value: dict[str, Any]) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and isinstance(into.get(key), dict):
            merge(into[key], item)
        else:
            into[key] = item


def test_each_replica_is_named() -> None:
    replicas = {"Master": {"template": ASKS}, "Worker": {"template": {"spec": ASKS["spec"]}}}
    made: dict[str, Any] = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "job"}}
    made["spec"] = {"pytorchReplicaSpecs": replicas}
    result = on("explain", made, "-o", "json")
    assert [(one["pod"], one["decision"]) for one in json.loads(result.stdout)] == [
        ("PyTorchJob job (Master)", "wired"),
        ("PyTorchJob job (Worker)", "skipped"),
    ]
    (wired, _) = json.loads(result.stdout)
    assert wired["notes"] == ["not known before a pod is created: the index of each replica"]
    (context,) = [one["value"] for one in wired["containers"][0]["variables"] if one["name"] == "MLFLOW_RUN_CONTEXT"]
    assert (
        json.loads(context).items()
        >= {
            "training.job_name": "job",
            "training.replica_type": "master",
            "training.operator_name": "pytorchjob-controller",
            "mlflow.runName": "job-master",
        }.items()
    )


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: f"{other.group}/{other.name}")
def test_for_other_kinds_a_message_says_how_to_pass_a_pod_and_where_a_label_belongs(other: Any) -> None:
    made = {"apiVersion": f"{other.group}/v1", "kind": other.name, "metadata": {"name": "w", "labels": LABEL}}
    result = on("inject", made)
    assert "does not look into" in result.stderr
    assert "kubectl get pod NAME" in result.stderr
    assert f"does not reach its pods: move it to {other.label_at}" in result.stderr
    made["metadata"] = {"name": "w", "annotations": {EXPERIMENT: "nightly"}}
    right = other.label_at.replace("labels", "annotations")
    assert f"the annotation {EXPERIMENT} of the {other.name} does not reach its pods: move it to {right}" in (
        on("inject", made).stderr
    )


def test_a_runtime_of_the_cluster_is_in_no_namespace_and_gets_no_workspace() -> None:
    kind = next(kind for kind in KINDS if kind.name == "ClusterTrainingRuntime")
    runtime = document(
        kind, kind.templates[0], {"spec": {"containers": [{"name": "node"}]}}, name="torch", part="trains"
    )
    shown = on("explain", runtime, *LABELLED).stdout
    assert shown.startswith("ClusterTrainingRuntime torch (trains) in the namespace of each TrainJob\n")
    assert "default" not in shown.replace("built-in default", "")
    (found,) = json.loads(on("explain", runtime, *LABELLED, "-o", "json").stdout)
    assert found["namespace"] is None
    assert "MLFLOW_WORKSPACE" not in str(found)
    assert "torch (trains) in namespace team" in on("explain", runtime, *LABELLED, "-n", "team").stdout
    assert "MLFLOW_WORKSPACE" not in on("inject", runtime, *LABELLED, "-n", "team").stdout


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a", "List", "TrainJob", "mlflow-enabled"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 40), VALUES), min_size=1, max_size=4))
def test_every_mistake_in_a_document_has_a_sentence(whole: dict[str, Any], changes: Any) -> None:
    documents = copy.deepcopy([whole, RUNTIME])
    for number, value in changes:
        places = list(containers_of(documents[0]))
        container, key = places[number % len(places)]
        container[key] = copy.deepcopy(value)
    try:
        found = find(documents)
    except DocumentError:
        return
    for pod in found.pods:
        _, operations = inject(pod, namespace=Namespace("a", LABEL, {}), platform=Platform())
        jsonpatch.apply_patch(pod.document, operations)
