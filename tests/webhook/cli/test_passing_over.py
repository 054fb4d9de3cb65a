"""What `inject` and `explain` say about documents without pods. `inject` prints them unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webhook.cli.calling import LABELLED, call

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {mlflow-enabled: 'true'}}
spec: {containers: [{name: c}]}
"""
GIVE = "pass a pod that it created: kubectl get pod NAME -o yaml | mlflow-webhook explain -f -)"
WITHOUT_PODS = {
    "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n": "Service s: no pod template",
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: s}\n": "NetworkPolicy s: no pod template",
    "apiVersion: agents.x-k8s.io/v1\nkind: Sandbox\nmetadata: {name: s}\n": (
        "Sandbox s: this command does not look into the kind Sandbox of agents.x-k8s.io"
    ),
    "apiVersion: sparkoperator.k8s.io/v1alpha1\nkind: SparkConnect\nmetadata: {name: s}\n": (
        f"SparkConnect s: this command does not look into the kind SparkConnect of sparkoperator.k8s.io ({GIVE}"
    ),
    "apiVersion: autoscaling.k8s.io/v1\nkind: Fleet\nmetadata: {name: s}\n": (
        "Fleet s: this command does not look into the kind Fleet of autoscaling.k8s.io (if it creates pods"
    ),
    "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: s}\n": "Role s: no pod template",
    "apiVersion: v1\nkind: Deployment\nmetadata: {name: d}\n": (
        "Deployment d: the core API group has no kind Deployment; did you mean apps?"
    ),
    "apiVersion: apps/v1\nkind: Pod\nmetadata: {name: p}\n": "Pod p: the API group apps has no kind Pod; did you mean "
    "v1?",
    "apiVersion: extensions/v1beta1\nkind: DaemonSet\nmetadata: {name: d}\n": (
        "DaemonSet d: the API group extensions has no kind DaemonSet; did you mean apps?"
    ),
    "apiVersion: batch/v1\nkind: TrainJob\nmetadata: {name: t}\n": (
        "TrainJob t: the API group batch has no kind TrainJob; did you mean trainer.kubeflow.org?"
    ),
    "apiVersion: v1\nkind: Experiment\nmetadata: {name: e}\n": (
        "Experiment e: the core API group has no kind Experiment; did you mean kubeflow.org?"
    ),
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers:\n"
    "      - {name: c}\n      - {name: old, $patch: delete}\n": (
        "Deployment d: a strategic merge patch; pass the object that it changes"
    ),
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n"
    "      $setElementOrder/containers: [{name: c}]\n      containers: [{name: c}]\n": (
        "Deployment d: a strategic merge patch"
    ),
    "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: t, namespace: team}\n"
    "spec: {runtimeRef: {kind: TrainingRuntime, name: r}}\n": (
        "pass the runtime too (kubectl get trainingruntime r --namespace team -o yaml)"
    ),
    "kind: pod\nmetadata: {name: p}\n": "pod p: pod is not a known kind; did you mean Pod?",
    "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: v}\nspec: {tasks: [{template: {}}]}\n": (
        f"Job v: this command does not look into the kind Job of batch.volcano.sh ({GIVE}"
    ),
    "apiVersion: argoproj.io/v1alpha1\nkind: WorkflowTemplate\nmetadata: {name: w}\n": (
        f"WorkflowTemplate w: this command does not look into the kind WorkflowTemplate of argoproj.io ({GIVE}"
    ),
    "apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\nmetadata: {name: w}\n": (
        "CronWorkflow w: this command does not look into the kind CronWorkflow"
    ),
    "apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: 3}\n": (
        "Deployment d: this command does not look into the kind Deployment of example.com (if it creates pods, pass"
    ),
    "apiVersion: v1\nkind: Service\nmetadata: {name: t}\nspec: {template: {spec: {containers: []}}}\n": (
        "Service t: no pod template"
    ),
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n": (
        "Deployment web: the pod template is missing at /spec/template, as in a patch"
    ),
    "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec: {nodeName: n}\n": (
        "a Deployment without a name: the pod template is missing"
    ),
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n": "Pod p: it has no containers, as in a patch",
    "resources: [a.yaml]\n": "a document without a kind: not a Kubernetes object",
    "spec: {replicas: 3}\n": "a document without a kind: not a Kubernetes object",
    "{}\n": "a document without a kind: not a Kubernetes object",
    "apiVersion: v1\nkind: List\nitems: [{metadata: {name: x}}, 3]\n": (
        "a document without a kind: not a Kubernetes object"
    ),
    "apiVersion: v1\nkind: List\nitems: []\n": "",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n": (
        "Namespace team: contains none of the pods. To change this, use --namespace team"
    ),
    "# nothing but a comment\n": "",
    "": "",
    "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: t}\nspec: {runtimeRef: {name: r}}\n": (
        "TrainJob t: its pods come from its runtime: pass the runtime too (kubectl get clustertrainingruntime r -o "
        "yaml)"
    ),
}


@pytest.mark.parametrize("text", WITHOUT_PODS)
def test_a_text_without_a_pod_is_passed_on_unchanged_with_a_message(text: str) -> None:
    injected = call("inject", "-f", "-", text=text)
    assert injected.exit_code == 0
    assert injected.stdout == text
    assert WITHOUT_PODS[text] in injected.stderr
    explained = call("explain", "-f", "-", text=text)
    assert explained.exit_code == 1
    assert WITHOUT_PODS[text] in explained.stderr
    assert explained.stderr.endswith("Error: standard input: no pod found\n")


@pytest.mark.parametrize("text", [text for text in WITHOUT_PODS if text.startswith(("api", "kind"))])
def test_next_to_a_pod_it_keeps_its_text_and_is_named(text: str) -> None:
    for stream in (f"{text}---\n{POD}", f"# first\n---\n{POD}--- # second\n{text}"):
        injected = call("inject", "-f", "-", text=stream)
        assert injected.exit_code == 0
        assert text in injected.stdout
        assert "MLFLOW_TRACKING_URI" in injected.stdout
        assert WITHOUT_PODS[text] in injected.stderr
        explained = call("explain", "-f", "-", text=stream)
        assert explained.exit_code == 0
        assert WITHOUT_PODS[text] in explained.stderr


@pytest.mark.parametrize("text", ['{"kind": "Service"}\n', '{"kind": "List", "items": []}', '[{"kind": "Service"}]'])
def test_json_without_a_pod_is_passed_on_as_it_is(text: str) -> None:
    assert call("inject", "-f", "-", text=text).stdout == text


PARTS = st.sampled_from(
    [
        POD,
        POD.replace("true", "false"),
        "# only a comment\n",
        "kind: ConfigMap\ndata: {a: 1.10, b: 0x1F}   # a comment\n",
        "kind:   Service\n",
        "",
    ]
)
SEPARATORS = st.sampled_from(["---\n", "--- # next\n", "---   \n"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(SEPARATORS, PARTS), min_size=1, max_size=6))
def test_text_of_documents_without_a_change_stays_byte_for_byte(parts: list[tuple[str, str]]) -> None:
    text = "".join(separator + part for separator, part in parts)
    result = call("inject", "-f", "-", text=text)
    assert result.exit_code == 0
    written = result.stdout
    for separator, part in parts:
        before = written
        if part == POD:
            head, separated, written = written.partition("spec:\n  containers:\n")
            assert head.startswith(separator + "apiVersion: v1\nkind: Pod\n")
            assert separated
            written = written[written.find("---") :] if "---" in written else ""
        else:
            assert before.startswith(separator + part)
            written = before[len(separator + part) :]
    assert written == ""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(SEPARATORS, PARTS), min_size=1, max_size=6))
def test_injecting_the_output_again_changes_nothing(parts: list[tuple[str, str]]) -> None:
    text = "".join(separator + part for separator, part in parts)
    once = call("inject", "-f", "-", *LABELLED, text=text).stdout
    assert call("inject", "-f", "-", *LABELLED, text=once).stdout == once
    assert [one for one in yaml.safe_load_all(once) if one] == json.loads(
        call("inject", "-f", "-", *LABELLED, "-o", "json", text=text).stdout
    )


def test_from_a_review_the_pod_is_printed_even_without_a_change() -> None:
    review = {"kind": "AdmissionReview", "request": {"namespace": "team", "object": {"spec": {"containers": []}}}}
    for text in (yaml.safe_dump(review), json.dumps(review)):
        (written,) = yaml.safe_load_all(call("inject", "-f", "-", text=text).stdout)
        assert (written["kind"], written["metadata"]) == ("Pod", {"namespace": "team"})


def test_comments_above_a_changed_document_are_kept() -> None:
    text = f"---\n# Source: chart/pod.yaml\n\n  # another\n{POD}---\n# Source: chart/other.yaml\n{POD}"
    written = call("inject", "-f", "-", text=text).stdout
    assert written.startswith("---\n# Source: chart/pod.yaml\n\n  # another\napiVersion: v1\n")
    assert "\n---\n# Source: chart/other.yaml\napiVersion: v1\n" in written
    assert call("inject", "-f", "-", text=written).stdout == written


def test_several_files_are_one_stream(tmp_path: Path) -> None:
    texts = {"a.yaml": "kind: Service", "b.json": '{"kind": "ConfigMap"}', "c.yaml": f"---\n{POD}", "d.yaml": "# end"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    written = call("inject", *(word for name in texts for word in ("-f", str(tmp_path / name)))).stdout
    assert written.startswith("kind: Service\n---\nkind: ConfigMap\n---\napiVersion: v1\nkind: Pod\n")
    assert written.endswith("---\n# end")
    assert [document["kind"] for document in yaml.safe_load_all(written) if document] == ["Service", "ConfigMap", "Pod"]


def test_what_inject_prints_as_json_is_taken_again() -> None:
    printed = call("inject", "-f", "-", "-o", "json", text=f"{POD}---\nkind: Service\n").stdout
    assert call("inject", "-f", "-", "-o", "json", text=printed).stdout == printed
    assert call("explain", "-f", "-", text=printed).exit_code == 0


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused_with_their_place(name: str) -> None:
    text = json.dumps({**yaml.safe_load(POD), "status": {"x": [1, 0]}}).replace("[1, 0]", f"[1, {name}]")
    for output in ("json", "yaml", "patch"):
        result = call("inject", "-f", "-", "-o", output, text=text)
        assert result.exit_code == 1
        assert f"status.x[1] is {name}" in result.stderr
    yaml_text = f"{POD}---\nkind: Deployment\nspec:\n  replicas: .inf\n"
    assert (
        "spec.replicas is .inf, which JSON cannot represent (line 8)"
        in call("inject", "-f", "-", text=yaml_text).stderr
    )


def test_a_namespace_in_the_files_is_that_of_its_pods() -> None:
    namespace = (
        "kind: Namespace\nmetadata:\n  name: team\n  labels: {mlflow-enabled: 'true'}\n"
        "  annotations: {mlflow.kubeflow.org/experiment: ours, mlflow.kubeflow.org/tokensecret: x}\n---\n"
    )
    pod = POD.replace("name: a,", "name: a, namespace: team,")
    (found,) = json.loads(call("explain", "-f", "-", "-o", "json", text=namespace + pod).stdout)
    values = {variable["name"]: variable.get("value") for variable in found["containers"][0]["variables"]}
    assert (values["MLFLOW_WORKSPACE"], values["MLFLOW_EXPERIMENT_NAME"]) == ("team", "ours")
    assert "unknown annotation mlflow.kubeflow.org/tokensecret of the namespace" in found["warnings"][0]
    flag = ["--namespace-annotation", "mlflow.kubeflow.org/experiment=theirs"]
    (found,) = json.loads(call("explain", "-f", "-", "-o", "json", *flag, text=namespace + pod).stdout)
    assert "theirs" in str(found)
    (found,) = json.loads(call("explain", "-f", "-", "-o", "json", text=namespace + POD).stdout)
    assert found["namespace"] == "default"
    assert "ours" not in str(found)


def test_a_mistake_in_a_namespace_is_named_even_with_pods_of_another_one() -> None:
    metadata = {
        "name": "team",
        "labels": {"mlflow-enabled": "True"},
        "annotations": {"mlflow.kubeflow.org/token-secret": "A B"},
    }
    text = yaml.safe_dump({"kind": "Namespace", "metadata": metadata}) + f"---\n{POD}"
    for command in ("explain", "inject"):
        shown = call(command, "-f", "-", text=text).stderr
        assert "Namespace team: contains none of the pods. To change this, use --namespace team" in shown
        assert "Namespace team: warning: label mlflow-enabled=True of the namespace is neither" in shown
        assert (
            "Namespace team: warning: annotation mlflow.kubeflow.org/token-secret of the namespace is ignored" in shown
        )
    inside = call("explain", "-f", "-", "-n", "team", text=text)
    assert "Namespace team:" not in inside.stderr
    assert "label mlflow-enabled=True of the namespace is neither" in inside.stdout
