"""`inject`: files of any form in, the same files with wired pods out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from tests.support.pods import FOLDER, KFP, SAMPLES, pod
from tests.webhook.cli.calling import LABELLED, call, on


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_patch_produces_exactly_the_pod_that_inject_prints(sample: str) -> None:
    file = str(FOLDER / sample)
    (after,) = json.loads(call("inject", "-f", file, *LABELLED, "-o", "json").stdout)
    (patch,) = json.loads(call("inject", "-f", file, *LABELLED, "-o", "patch").stdout)
    (before,) = json.loads(call("inject", "-f", file, "--namespace-label", "a=b", "-o", "json").stdout)
    if "mlflow-enabled" not in before["metadata"]["labels"]:
        assert before["spec"] == pod(sample)["spec"]
        assert jsonpatch.apply_patch(before, patch["patch"]) == after
    assert yaml.safe_load(call("inject", "-f", file, *LABELLED).stdout) == after


TEMPLATE = {"metadata": {"labels": {"mlflow-enabled": "true"}}, "spec": {"containers": [{"name": "c"}]}}


NODE = {"spec": {"template": {"spec": {"containers": [{"name": "node"}]}}}}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": TEMPLATE}}, "/spec/template/"),
        ({"kind": "Job", "metadata": {"name": "d"}, "spec": {"template": TEMPLATE}}, "/spec/template/"),
        (
            {"kind": "CronJob", "metadata": {"name": "d"}, "spec": {"jobTemplate": {"spec": {"template": TEMPLATE}}}},
            "/spec/jobTemplate/spec/template/",
        ),
        ({"kind": "List", "items": [{"kind": "Pod", **TEMPLATE}]}, "/items/0/"),
        (
            {
                "kind": "ClusterTrainingRuntime",
                "metadata": {"name": "torch"},
                "spec": {"template": {"spec": {"replicatedJobs": [{"name": "node", "template": NODE}]}}},
            },
            "/spec/template/spec/replicatedJobs/0/template/spec/template/",
        ),
    ],
    ids=["deployment", "job", "cronjob", "list", "runtime"],
)
def test_pod_templates_are_wired_in_place(document: dict[str, Any], path: str) -> None:
    result = on("inject", document, *LABELLED, "-o", "patch")
    assert result.exit_code == 0, result.output
    ((_, name), (_, operations)) = json.loads(result.stdout)[0].items()
    assert name == " ".join([document["kind"], *([document["metadata"]["name"]] if "metadata" in document else [])])
    assert all(operation["path"].startswith(path) for operation in operations)
    after = yaml.safe_load(on("inject", document, *LABELLED).stdout)
    assert jsonpatch.apply_patch(document, operations) == after
    assert "MLFLOW_TRACKING_URI" in str(after)


def test_a_runtime_does_not_give_its_own_name_to_the_runs_of_its_trainjobs() -> None:
    replicated = {"replicatedJobs": [{"name": "node", "template": NODE}]}
    document = {"kind": "TrainingRuntime", "metadata": {"name": "torch"}, "spec": {"template": {"spec": replicated}}}
    result = on("explain", document, *LABELLED, "-o", "json")
    (explained,) = json.loads(result.stdout)
    names = [variable["name"] for variable in explained["containers"][0]["variables"]]
    assert names == ["MLFLOW_TRACKING_URI", "MLFLOW_WORKSPACE", "MLFLOW_TRACKING_TOKEN"]
    assert "the webhook adds them to its pods" in explained["notes"][0]


def test_documents_without_pods_are_passed_through() -> None:
    service = {"kind": "Service", "metadata": {"name": "s"}}
    deployment = {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": TEMPLATE}}
    apart = yaml.safe_dump_all([service, deployment])
    result = call("inject", "-f", "-", text=apart)
    assert next(yaml.safe_load_all(result.stdout)) == service
    assert "MLFLOW_TRACKING_URI" in result.stdout
    assert "Service s: no pod template; not changed" in result.stderr
    listed = call("inject", "-f", "-", text=yaml.safe_dump({"kind": "List", "items": [service, deployment]}))
    assert "Service s: no pod template; not changed" in listed.stderr
    for text in (apart, yaml.safe_dump({"kind": "List", "items": [service, deployment]})):
        assert call("explain", "-f", "-", text=text).exit_code == 0


def test_several_documents_are_printed_as_several() -> None:
    text = "\n---\n".join(yaml.safe_dump({"kind": "Pod", **TEMPLATE}) for _ in range(2))
    assert len(list(yaml.safe_load_all(call("inject", "-f", "-", text=text).stdout))) == 2
    assert len(json.loads(call("explain", "-f", "-", "-o", "json", text=text).stdout)) == 2


@pytest.mark.parametrize("between", ["\n---\n", "\n", ""], ids=["separator", "newline", "nothing"])
def test_json_documents_may_follow_one_another(between: str) -> None:
    text = between.join([json.dumps({"kind": "Pod", **TEMPLATE})] * 2)
    assert len(list(yaml.safe_load_all(call("inject", "-f", "-", text=text).stdout))) == 2


SHARED = """
kind: Pod
metadata: {name: p, labels: &marks {mlflow-enabled: "true", 1: one, true: yes-it-is}, annotations: *marks}
spec:
  initContainers: [{name: i, env: &env [{name: A, value: b}]}]
  containers: [{name: a, env: *env}, {name: b, env: *env}]
"""


def test_values_shared_by_yaml_anchors_are_wired_in_each_place() -> None:
    after = yaml.safe_load(call("inject", "-f", "-", text=SHARED).stdout)
    given = [[entry["name"] for entry in container["env"]] for container in after["spec"]["containers"]]
    assert given[0] == given[1] == list(dict.fromkeys(given[0]))
    assert given[0][-1] == "A"
    assert after["spec"]["initContainers"] == [{"name": "i", "env": [{"name": "A", "value": "b"}]}]
    assert after["metadata"]["labels"] == {"mlflow-enabled": "true", "1": "one", "true": "yes-it-is"}
    assert "mlflow.kubeflow.org/decision" in after["metadata"]["annotations"]


def test_a_pod_that_is_not_wired_does_not_change() -> None:
    document = {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": []}}}}
    assert yaml.safe_load(on("inject", document).stdout) == document
    assert on("inject", document, "-o", "diff").stdout == ""


def test_all_files_are_read(tmp_path: Path) -> None:
    wired, other = tmp_path / "wired.yaml", tmp_path / "other.yaml"
    wired.write_text(yaml.safe_dump({"kind": "Pod", **TEMPLATE}))
    other.write_text("kind: Pod\nmetadata: {name: other}\nspec: {containers: [{name: c}]}")
    result = call("explain", "-f", str(other), "-f", str(wired))
    assert result.exit_code == 3
    assert "other in namespace" in result.stdout
    assert "wired_by_pod_label" in result.stdout
    assert "nowhere" in call("explain", "-f", "nowhere", "-f", str(wired)).stderr


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("command", [("explain", "json"), ("inject", "json"), ("inject", "patch")])
def test_json_is_an_array_also_for_one_document(command: tuple[str, str], number: int) -> None:
    text = yaml.safe_dump_all([{"kind": "Pod", **TEMPLATE}] * number)
    printed = json.loads(call(command[0], "-f", "-", "-o", command[1], text=text).stdout)
    assert isinstance(printed, list)
    assert len(printed) == number
    if command == ("inject", "json"):
        assert on("explain", printed[0]).exit_code == 0
    elif command == ("inject", "patch"):
        assert printed[0].keys() == {"document", "patch"}


def test_items_of_a_list_of_one_kind_may_leave_it_out() -> None:
    document = {"kind": "DeploymentList", "items": [{"metadata": {"name": "d"}, "spec": {"template": TEMPLATE}}]}
    result = on("explain", document)
    assert result.exit_code == 0
    assert result.stdout.startswith("Deployment d in namespace")


def test_a_label_on_the_wrong_object_or_of_the_wrong_value_is_named() -> None:
    metadata = {"name": "d", "labels": {"mlflow-enabled": "true"}}
    document = {"kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": {"containers": []}}}}
    shown = on("explain", document).stdout
    assert (
        "label mlflow-enabled of the Deployment does not reach its pods: move it to /spec/template/metadata/labels"
        in shown
    )
    pod_alone = {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}}
    shown = on("explain", pod_alone, "--namespace-label", "mlflow-enabled=True").stdout
    assert 'label mlflow-enabled=True of the namespace is neither "true" nor "false"' in shown


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_in_each_encoding_that_kubectl_reads(encoding: str, tmp_path: Path) -> None:
    text = "kind: ConfigMap\ndata: {a: é}\n"
    file = tmp_path / "pod.yaml"
    file.write_text(text, encoding=encoding)
    assert call("inject", "-f", str(file)).stdout == text


@pytest.mark.parametrize("content", [b"kind: \xe9", b"\xff\xfek", b"\xff"])
def test_another_encoding_is_refused_with_a_sentence(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_bytes(content)
    refused = call("explain", "-f", str(file))
    assert refused.exit_code == 1
    assert refused.stderr == f"Error: {file} is neither UTF-8 nor UTF-16 with a byte order mark\n"


@pytest.mark.parametrize("output", ["yaml", "json", "patch", "diff"])
def test_output_that_cannot_be_written_is_one_line(output: str, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full on this system")
    command = [str(Path(sys.executable).with_name("mlflow-webhook")), "inject", "-f", str(FOLDER / KFP), *LABELLED]
    with full.open("wb") as stdout:
        done = subprocess.run([*command, "-o", output], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_yaml_may_begin_with_a_brace() -> None:
    text = "{kind: Pod, metadata: {labels: {mlflow-enabled: 'true'}}, spec: {containers: [{name: c}]}}"
    for document in (text, f"{text}\n---\n{text}", f"\ufeff{text}"):
        assert "MLFLOW_TRACKING_URI" in call("inject", "-f", "-", text=document).stdout


def test_strings_that_look_like_numbers_stay_strings() -> None:
    labels = {"a": "1e3", "b": "0o7", "c": "yes", "d": "2026-01-01", "e": "12", "f": "null"}
    document = {"kind": "Pod", "metadata": {"labels": labels}, "spec": {"containers": []}}
    text = call("inject", "-f", "-", text=json.dumps(document)).stdout
    assert yaml.safe_load(text)["metadata"]["labels"] == labels
    assert "a: '1e3'" in text
    assert "b: '0o7'" in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "not YAML at line"),
        ("{", "not JSON at line 1, column 2: "),
        ('{"kind": "Pod",\n "spec": {"containers" []}}', "not JSON at line 2, column 24: Expecting ':'"),
        ("[" * 9000, "nested too deeply"),
        ('{"a":' * 90000, "nested too deeply"),
        ("- a", "document 1 is not a Kubernetes object"),
        ("a", "not a Kubernetes object"),
        ("kind: JobSet\nspec: {replicatedJobs: 5}", "/spec/replicatedJobs is neither a mapping nor a list"),
        ("kind: Deployment\nspec: {template: 5}", "the pod template at /spec/template is not a mapping"),
        ("metadata: &m {x: *m}", "the anchor m contains itself (line 1)"),
        ('{"kind": "\\ud800"}', "kind has an unpaired surrogate"),
        ("kind: Pod\nspec: {{ .Values.spec }}", "if it is a template, render it first"),
        ("{{- if .x }}", "if it is a template, render it first"),
        ("kind: \x00", "unacceptable character #x0000"),
        ("kind: Pod\nspec: {containers: [{name: a, env: [{name: A, value: 1}]}]}", "write it in quotation marks"),
        ("kind: Pod\nspec: {containers: [{name: 3}]}", "spec.containers[0].name"),
        ("kind: AdmissionReview", "without an object"),
        (
            "kind: AdmissionReview\nrequest: {operation: DELETE, object: {}}",
            "the review of DELETE pods; the webhook decides",
        ),
        (
            "kind: AdmissionReview\nrequest: {resource: {resource: pods}, subResource: binding, object: {}}",
            "the review of CREATE pods/binding; the webhook decides about CREATE pods only",
        ),
        (
            "kind: AdmissionReview\nrequest: {resource: {group: apps, resource: deployments}, object: {}}",
            "the review of CREATE deployments; the webhook decides about CREATE pods only",
        ),
        (
            "metadata: {labels: {mlflow-enabled: true}}\nspec: {containers: []}",
            "a Pod without a name: label mlflow-enabled is true, not",
        ),
        (
            "kind: Pod\nmetadata: {name: a, annotations: {b.c/d: [1]}}\nspec: {containers: []}",
            "Pod a: annotation b.c/d is a list, not a string",
        ),
        ("kind: Namespace\nmetadata: {name: a, labels: {x: {}}}", "Namespace a: label x is a mapping, not a string"),
        ("kind: Namespace\nmetadata: {name: a, labels: {x: 1}}", 'Namespace a: label x is 1, not a string: write "1"'),
        (
            "kind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: 1}}}",
            "Job j: the pod has a wrong type: Expected `array | null`, got `int` - at `spec.template.spec.containers`",
        ),
        (
            "kind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: [{name: c}], volumes: x}}}",
            "Job j: the pod has a wrong type: Expected `array | null`, got `str` - at `spec.template.spec.volumes`",
        ),
        (
            "kind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: [{name: c, volumeMounts: x}]}}}",
            "Expected `array | null`, got `str` - at `spec.template.spec.containers[0].volumeMounts`",
        ),
    ],
)
def test_an_unreadable_file_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    for command in ("inject", "explain"):
        result = call(command, "-f", "-", text=text)
        assert result.exit_code == 1
        assert sentence in result.stderr
        assert "Traceback" not in result.output


def test_null_as_the_value_of_a_label_or_annotation_is_empty_text() -> None:
    metadata = (
        "{name: a, labels: {mlflow-enabled: 'true', app: }, annotations: {x: ~, mlflow.kubeflow.org/workspace: }}"
    )
    namespace = "kind: Namespace\nmetadata: {name: default, annotations: {mlflow.kubeflow.org/token-secret: }}\n---\n"
    text = f"{namespace}kind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: c}}]}}\n"
    result = call("explain", "-f", "-", *LABELLED, text=text)
    assert result.exit_code == 0
    assert "MLFLOW_WORKSPACE" not in result.stdout
    assert "token-secret of the namespace is ignored: expected the name of a Secret" in result.stdout


def test_a_mistake_is_reported_with_the_name_of_its_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump({"kind": "Pod", **TEMPLATE}))
    bad.write_text("kind: Pod\nspec: {containers: 1}")
    assert f"{bad}: " in call("explain", "-f", str(good), "-f", str(bad)).stderr
