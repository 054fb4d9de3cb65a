from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pods import FOLDER, KFP, SAMPLES, TRAINJOB, pod
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import NOT_A_POD_CREATION, Decision, decide
from webhook.core.names import ANNOTATION_GROUP as GROUP
from webhook.core.names import DECISION_ANNOTATION
from webhook.core.patch import patch
from webhook.core.reasons import Reason
from webhook.core.review import MalformedReviewError, decode_pod
from webhook.core.values import SecretKey
from webhook.core.wiring import SecretRef
from webhook.core.workload import WorkloadKind

LABELLED = Namespace("team-a", {"mlflow-enabled": "true"}, {})
UNLABELLED = Namespace("team-a", {}, {})
ALL = [
    "MLFLOW_TRACKING_URI",
    "MLFLOW_WORKSPACE",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_WEBHOOK_POD_NAME",
    "MLFLOW_RUN_CONTEXT",
]
KFP_V1 = {
    "metadata": {
        "name": "add-pipeline-kzmqt-1239123",
        "labels": {
            "workflows.argoproj.io/workflow": "add-pipeline-kzmqt",
            "pipelines.kubeflow.org/kfp_sdk_version": "1.8.22",
            "pipelines.kubeflow.org/pipeline-sdk-type": "kfp",
        },
    },
    "spec": {"containers": [{"name": "wait"}, {"name": "main"}]},
}
OURS = "http://mlflow-tracking-server.kubeflow:5000"
TOKEN = {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mlflow-token", "key": "token"}}}


def run(document: dict[str, Any], namespace: Namespace | None = LABELLED, **platform: Any) -> Decision:
    return decide(decode_pod(json.dumps(document).encode()), namespace=namespace, platform=Platform(**platform))


def wired(document: dict[str, Any], namespace: Namespace = LABELLED) -> dict[str, Any]:
    seen = decode_pod(json.dumps(document).encode())
    operations = patch(seen, decide(seen, namespace=namespace, platform=Platform()))
    result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(document), operations)
    return result


def given_names(decision: Decision) -> list[str]:
    return [variable.name for container in decision.containers for variable in container.variables]


def with_env(*env: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    document = copy.deepcopy(pod(TRAINJOB))
    document["spec"]["containers"][0]["env"] = list(env)
    for key, value in metadata.items():
        document["metadata"].setdefault(key, {}).update(value)
    return document


def other_pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "labels": {"mlflow-enabled": "true"}}, "spec": {"containers": [spec]}}


def expected(sample: str) -> Reason:
    rows = {
        "-driver": Reason.KFP_DRIVER,
        "importer.": Reason.KFP_IMPORTER,
        "initializer": Reason.TRAINJOB_INITIALIZER,
        "bearer-no-inject": Reason.FOREIGN_CREDENTIALS,
        "plugin-bearer.": Reason.KFP_PLUGIN,
        "plugin-inject": Reason.KFP_PLUGIN,
        "own-labels-annotations-env": Reason.OTHER_SERVER,
        "labelled.": Reason.WIRED_BY_POD_LABEL,
        "label-by-runtimepatches": Reason.WIRED_BY_POD_LABEL,
    }
    return next((reason for mark, reason in rows.items() if mark in sample), Reason.WIRED_BY_NAMESPACE_LABEL)


def test_there_are_samples() -> None:
    assert len(SAMPLES) > 30
    assert FOLDER.is_dir()


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_is_decided_as_designed_in_a_labelled_namespace(sample: str) -> None:
    assert run(pod(sample)).reason is expected(sample)


@pytest.mark.parametrize("sample", SAMPLES)
def test_no_sample_is_wired_in_an_unlabelled_namespace_unless_it_asks(sample: str) -> None:
    asks = pod(sample)["metadata"]["labels"].get("mlflow-enabled") == "true"
    assert run(pod(sample), UNLABELLED).reason is (expected(sample) if asks else Reason.NOT_ENABLED)


@pytest.mark.parametrize("sample", SAMPLES)
def test_only_variables_and_the_annotation_are_added_and_only_once(sample: str) -> None:
    before = pod(sample)
    after = wired(before)
    assert wired(after) == after
    for old, new in zip(before["spec"]["containers"], after["spec"]["containers"], strict=True):
        added = len(new.get("env", [])) - len(old.get("env", []))
        assert new.get("env", [])[added:] == old.get("env", [])
        names = [entry["name"] for entry in new.get("env", [])]
        assert len(names) == len(set(names))
        new["env"] = old.get("env", [])
    after["metadata"].get("annotations", {}).pop("mlflow.kubeflow.org/decision", None)
    before["metadata"].setdefault("annotations", {})
    after["metadata"].setdefault("annotations", {})
    assert after == before


@pytest.mark.parametrize(
    ("pod_label", "namespace", "training", "other"),
    [
        ("true", LABELLED, Reason.WIRED_BY_POD_LABEL, Reason.WIRED_BY_POD_LABEL),
        ("true", UNLABELLED, Reason.WIRED_BY_POD_LABEL, Reason.WIRED_BY_POD_LABEL),
        ("false", LABELLED, Reason.OPTED_OUT, Reason.OPTED_OUT),
        ("false", UNLABELLED, Reason.OPTED_OUT, Reason.OPTED_OUT),
        (None, LABELLED, Reason.WIRED_BY_NAMESPACE_LABEL, Reason.NOT_A_TRAINING_WORKLOAD),
        (None, UNLABELLED, Reason.NOT_ENABLED, Reason.NOT_ENABLED),
        ("yes", LABELLED, Reason.WIRED_BY_NAMESPACE_LABEL, Reason.NOT_A_TRAINING_WORKLOAD),
    ],
)
def test_the_labels_decide(pod_label: str | None, namespace: Namespace, training: Reason, other: Reason) -> None:
    labels = {} if pod_label is None else {"mlflow-enabled": pod_label}
    node = copy.deepcopy(pod(TRAINJOB))
    node["metadata"]["labels"].update(labels)
    assert run(node, namespace).reason is training
    assert run({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}, namespace).reason is other


def test_an_unmodified_kfp_component_gets_everything_with_its_lineage() -> None:
    decision = run(pod(KFP))
    assert given_names(decision) == ALL
    values = {variable.name: variable.value for variable in decision.containers[0].variables}
    assert values["MLFLOW_EXPERIMENT_NAME"] == "mlflow-training-pipeline"
    run_id = "d308ca25-ab18-46a3-a0ec-49f5d322c2d8"
    assert json.loads(str(values["MLFLOW_RUN_CONTEXT"])) == {
        "kfp.pipeline_name": "mlflow-training-pipeline",
        "kfp.pipeline_run_id": run_id,
        "kfp.task_name": "train-model",
        "kfp.task_path": "train-model",
        "mlflow.runName": "train-model-d308ca25",
        "k8s.pod.name": "$(MLFLOW_WEBHOOK_POD_NAME)",
    }


@pytest.mark.parametrize("explicit", [True, False])
def test_only_a_pod_with_its_own_label_requires_the_secret(explicit: bool) -> None:
    document = with_env(labels={"mlflow-enabled": "true"} if explicit else {})
    token = run(document).containers[0].variables[2].value
    assert token == SecretRef(SecretKey("mlflow-token", "token"), optional=not explicit)


@pytest.mark.parametrize(
    ("env", "reason", "absent"),
    [
        ([{"name": "MLFLOW_TRACKING_URI", "value": OURS + "/"}], Reason.WIRED_BY_NAMESPACE_LABEL, ALL[:1]),
        ([{"name": "MLFLOW_TRACKING_URI", "value": "http://other:5000"}], Reason.OTHER_SERVER, ALL),
        ([{"name": "MLFLOW_TRACKING_USERNAME", "value": "me"}], Reason.FOREIGN_CREDENTIALS, ALL),
        ([{"name": "MLFLOW_TRACKING_AUTH", "value": "kubernetes"}], Reason.FOREIGN_CREDENTIALS, ALL),
        ([TOKEN], Reason.WIRED_BY_NAMESPACE_LABEL, ["MLFLOW_TRACKING_TOKEN"]),
        (
            [{"name": "MLFLOW_TRACKING_URI", "value": OURS}, {"name": "MLFLOW_TRACKING_PASSWORD", "value": "x"}],
            Reason.WIRED_BY_NAMESPACE_LABEL,
            ["MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"],
        ),
        ([{"name": "MLFLOW_EXPERIMENT_ID", "value": "7"}], Reason.WIRED_BY_NAMESPACE_LABEL, [ALL[3]]),
        ([{"name": "MLFLOW_RUN_ID", "value": "7"}], Reason.WIRED_BY_NAMESPACE_LABEL, [ALL[3]]),
        ([{"name": "MLFLOW_EXPERIMENT_NAME", "value": ""}], Reason.WIRED_BY_NAMESPACE_LABEL, [ALL[3]]),
        ([{"name": "MLFLOW_EXPERIMENT_ID", "value": ""}], Reason.WIRED_BY_NAMESPACE_LABEL, []),
        ([{"name": "MLFLOW_RUN_ID"}], Reason.WIRED_BY_NAMESPACE_LABEL, []),
        ([{"name": "MLFLOW_RUN_ID", "value": ""}], Reason.WIRED_BY_NAMESPACE_LABEL, []),
        ([{"name": "MLFLOW_RUN_ID", "valueFrom": {}}], Reason.WIRED_BY_NAMESPACE_LABEL, [ALL[3]]),
        (
            [{"name": "MLFLOW_RUN_ID", "value": ""}, {"name": "MLFLOW_EXPERIMENT_ID", "value": "7"}],
            Reason.WIRED_BY_NAMESPACE_LABEL,
            [ALL[3]],
        ),
        ([{"name": "MLFLOW_RUN_CONTEXT", "value": "{}"}], Reason.WIRED_BY_NAMESPACE_LABEL, ALL[4:]),
        ([{"name": name, "value": OURS} for name in ALL if name != ALL[2]] + [TOKEN], Reason.NOTHING_TO_ADD, ALL),
    ],
)
def test_what_a_container_has_is_not_changed_and_the_token_goes_to_its_own_server_only(
    env: list[dict[str, Any]], reason: Reason, absent: list[str]
) -> None:
    decision = run(with_env(*env))
    assert decision.reason is reason
    assert given_names(decision) == [name for name in ALL if name not in absent]


def test_a_wired_pod_is_already_wired() -> None:
    assert run(wired(pod(KFP))).reason is Reason.ALREADY_WIRED


def test_a_wired_container_stays_recorded_when_another_cannot_be_wired() -> None:
    document = wired(with_env(labels={"mlflow-enabled": "true"}, annotations={f"{GROUP}/containers": "node, own"}))
    document["spec"]["containers"].append(
        {"name": "own", "env": [{"name": "MLFLOW_TRACKING_URI", "value": "http://other:5000"}]}
    )
    decision = run(document)
    assert decision.reason is Reason.ALREADY_WIRED
    assert decision.record is None


def test_a_container_that_another_webhook_adds_is_recorded_with_those_that_were_wired_before() -> None:
    document = wired(other_pod(name="first"))
    document["spec"]["containers"].append({"name": "second"})
    given = json.loads(run(document).record or "")["containers"]
    assert list(given) == ["first", "second"]
    assert given["first"] == given["second"]


def test_a_variable_that_another_webhook_removed_is_added_and_recorded_again() -> None:
    document = wired(other_pod(name="c"))
    taken = document["spec"]["containers"][0]["env"].pop(0)
    before = json.loads(document["metadata"]["annotations"][DECISION_ANNOTATION])["containers"]["c"]
    given = json.loads(run(document).record or "")["containers"]["c"]
    assert given == [*before[1:], taken["name"]]


@pytest.mark.timeout(60)  # milliseconds when the time is linear, minutes when it grows with the square
@pytest.mark.parametrize("piece", [";", "\n", " ", "/", "f(a|b);", "exec ", " -m ", "mlflow ", "; /mlflow", "|\t"])
def test_no_content_of_a_pod_makes_the_decision_slow(piece: str) -> None:
    decision = run(other_pod(name="c", args=[piece * (600_000 // len(piece))]))
    assert decision.reason is Reason.WIRED_BY_POD_LABEL


@pytest.mark.parametrize(
    "command",
    [
        ["mlflow", "server"],
        ["mlflow", "ui"],
        ["/opt/venv/bin/mlflow", "server"],
        ["python", "-m", "mlflow", "ui", "--port", "5000"],
        ["sh", "-c", "pip list; exec mlflow server --port 5000"],
        ["sh", "-c", "pip list && /opt/venv/bin/mlflow ui"],
        ["sh", "-c", "python -m mlflow server"],
        ["sh", "-c", "sleep 1\n  mlflow server"],
    ],
)
def test_a_pod_that_runs_the_server_is_not_wired(command: list[str]) -> None:
    assert run(other_pod(name="c", command=command)).reason is Reason.MLFLOW_SERVER


def test_a_comment_about_the_server_does_not_count() -> None:
    decision = run(other_pod(name="c", args=["python", "-c", "# logs to the mlflow server of the team"]))
    assert decision.reason is Reason.WIRED_BY_POD_LABEL


@pytest.mark.parametrize("names", [("istio-proxy", "a", "b"), ("a", "b", "istio-proxy"), ("a", "istio-proxy", "b")])
def test_of_several_reasons_the_pod_gets_that_of_its_first_container_other_than_a_sidecar(
    names: tuple[str, ...],
) -> None:
    own = {
        "a": [{"name": "MLFLOW_TRACKING_TOKEN", "value": ""}],
        "b": [{"name": "MLFLOW_TRACKING_USERNAME", "value": "u"}],
    }
    document = {
        "metadata": {"labels": {"mlflow-enabled": "true"}},
        "spec": {"containers": [{"name": name, "env": own.get(name)} for name in names]},
    }
    assert run(document).reason is Reason.TOKEN_EMPTY


def test_a_sidecar_alone_and_a_pod_without_containers_are_skipped() -> None:
    assert run(other_pod(name="istio-proxy")).reason is Reason.SIDECAR
    assert run({"metadata": {"labels": {"mlflow-enabled": "true"}}}).reason is Reason.NO_CONTAINER


def test_a_component_of_kfp_v1_has_its_own_reason_and_is_wired_when_it_asks() -> None:
    implied = run(KFP_V1)
    assert (implied.reason, implied.workload) == (Reason.KFP_V1, WorkloadKind.KFP_V1_COMPONENT)
    assert "Kubeflow Pipelines v1" in implied.reason.sentence
    asks = copy.deepcopy(KFP_V1)
    asks["metadata"]["labels"]["mlflow-enabled"] = "true"  # type: ignore[index]
    assert run(asks).reason is Reason.WIRED_BY_POD_LABEL
    assert run(KFP_V1, UNLABELLED).reason is Reason.NOT_ENABLED


def test_a_failed_lookup_refuses_only_pods_that_asked() -> None:
    implied, explicit = run(with_env(), None), run(with_env(labels={"mlflow-enabled": "true"}), None)
    assert implied.reason is explicit.reason is Reason.NAMESPACE_LOOKUP_FAILED
    assert (implied.try_again, explicit.try_again) == (False, True)


def test_pod_annotations_override_the_namespaces_and_invalid_ones_are_named() -> None:
    namespace = Namespace(
        "team-a",
        {"mlflow-enabled": "true"},
        {"mlflow.kubeflow.org/experiment": "theirs", "mlflow.kubeflow.org/token-secret": "mine/key"},
    )
    document = with_env(annotations={"mlflow.kubeflow.org/experiment": "own", "mlflow.kubeflow.org/lineage": "perhaps"})
    decision = run(document, namespace)
    values = {variable.name: variable.value for variable in decision.containers[0].variables}
    assert values["MLFLOW_EXPERIMENT_NAME"] == "own"
    assert values["MLFLOW_TRACKING_TOKEN"] == SecretRef(SecretKey("mine", "key"), optional=True)
    assert decision.warnings == (
        'annotation mlflow.kubeflow.org/lineage of the pod is ignored: expected "true" or "false"',
    )


def test_a_pod_that_is_sent_elsewhere_by_annotation_gets_no_token_unless_it_names_one() -> None:
    elsewhere = {"mlflow.kubeflow.org/tracking-uri": "https://other.example"}
    assert "MLFLOW_TRACKING_TOKEN" not in given_names(run(with_env(annotations=elsewhere)))
    named = {**elsewhere, "mlflow.kubeflow.org/token-secret": "other"}
    assert "MLFLOW_TRACKING_TOKEN" in given_names(run(with_env(annotations=named)))


def test_workspaces_can_be_turned_off() -> None:
    assert "MLFLOW_WORKSPACE" not in given_names(run(with_env(), workspaces=Sourced(False)))


def test_every_reason_is_reached_here() -> None:
    """Each row is a different kind of pod. Together they reach every reason."""
    reached = {run(pod(sample)).reason for sample in SAMPLES} | {
        run(with_env(), UNLABELLED).reason,
        run(with_env(), None).reason,
        run(wired(pod(KFP))).reason,
        run(with_env(labels={"mlflow-enabled": "false"})).reason,
        run({"spec": {"containers": [{"name": "c"}]}}).reason,
        run(KFP_V1).reason,
        run(other_pod(name="c", command=["mlflow", "server"])).reason,
        run(other_pod(name="istio-proxy")).reason,
        run(other_pod(name="c", env=[{"name": name, "value": OURS} for name in ALL])).reason,
        run({"metadata": {"labels": {"mlflow-enabled": "true"}}}).reason,
        run(with_env({"name": "MLFLOW_TRACKING_URI"})).reason,
        run(with_env({"name": "MLFLOW_TRACKING_URI", "valueFrom": {"configMapKeyRef": {}}})).reason,
        run(with_env({"name": "MLFLOW_TRACKING_TOKEN", "value": ""})).reason,
        run(with_env(annotations={"kubernetes.io/config.mirror": "x"})).reason,
        NOT_A_POD_CREATION.reason,
    }
    assert reached == set(Reason)


def test_the_users_label_and_args_do_not_name_the_run() -> None:
    document = copy.deepcopy(pod(KFP))
    document["metadata"]["labels"]["pipeline/runid"] = "user-given"
    main = next(container for container in document["spec"]["containers"] if container["name"] == "main")
    main["args"] = ["--pipeline_name", "user-given", "--run_id", "user-given"]
    assert "user-given" not in str(run(document).containers)


def test_a_dollar_sign_in_a_name_is_not_expanded_by_the_kubelet() -> None:
    document = copy.deepcopy(pod(TRAINJOB))
    document["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-name"] = "$(HOME)"
    assert run(document).containers[0].variables[3].value == "$$(HOME)"


_ANYTHING: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({}) | st.just([1])
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in items for place in places(item, (*at, key)))]


@given(st.data())
def test_no_invalid_pod_raises_anything_but_malformed(data: st.DataObject) -> None:
    document = copy.deepcopy(pod(data.draw(st.sampled_from([KFP, TRAINJOB]))))
    document["metadata"].pop("managedFields", None)
    place = data.draw(st.sampled_from(places(document)[1:]))
    target = document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = data.draw(_ANYTHING)
    with suppress(MalformedReviewError):
        seen = decode_pod(json.dumps(document).encode())
        for namespace in (LABELLED, None):
            jsonpatch.apply_patch(document, patch(seen, decide(seen, namespace=namespace, platform=Platform())))


def test_every_reason_has_its_own_sentence() -> None:
    assert len({reason.sentence for reason in Reason}) == len(Reason)
