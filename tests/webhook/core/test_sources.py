"""Where each value came from, in which group it is, and which values are read: what `explain` shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.core.configuration import Namespace, Platform, Source, Sourced, configure
from webhook.core.decision import Decision, decide
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod
from webhook.core.values import SecretKey, parse_secret

LABELLED = Namespace("team-a", {"mlflow-enabled": "true"}, {})
GROUP = "mlflow.kubeflow.org"


def decided(
    *containers: dict[str, Any], namespace: Namespace | None = LABELLED, label: str = "true", **own: str
) -> Decision:
    annotations = {f"{GROUP}/{key.replace('_', '-')}": value for key, value in own.items()}
    metadata = {"name": "p", "labels": {"mlflow-enabled": label, "app": "p"}, "annotations": annotations}
    document = {"metadata": metadata, "spec": {"containers": list(containers) or [{"name": "c"}]}}
    platform = Platform(env={"EXTRA": "x"}, token_secret=Sourced(SecretKey("s"), Source.PLATFORM))
    return decide(decode_pod(json.dumps(document).encode()), namespace=namespace, platform=platform)


def test_each_variable_has_its_group_and_its_source() -> None:
    decision = decided()
    assert (decision.explicit, decision.configuration is not None) == (True, True)
    assert [(v.name, v.group, v.source) for v in decision.containers[0].variables] == [
        ("MLFLOW_TRACKING_URI", "server", Source.DEFAULT),
        ("MLFLOW_WORKSPACE", "workspace", Source.NAMESPACE),
        ("MLFLOW_TRACKING_TOKEN", "identity", Source.PLATFORM),
        ("MLFLOW_EXPERIMENT_NAME", "experiment", Source.WORKLOAD),
        ("MLFLOW_WEBHOOK_POD_NAME", "lineage", Source.WORKLOAD),
        ("MLFLOW_RUN_CONTEXT", "lineage", Source.WORKLOAD),
        ("EXTRA", "extras", Source.PLATFORM),
    ]


def test_a_value_of_an_annotation_has_it_as_its_source() -> None:
    own = decided(experiment="mine").containers[0].variables[3]
    assert (own.name, own.source) == ("MLFLOW_EXPERIMENT_NAME", Source.POD_ANNOTATION)
    there = Namespace("team-a", LABELLED.labels, {f"{GROUP}/experiment": "theirs"})
    assert decided(namespace=there).containers[0].variables[3].source is Source.NAMESPACE_ANNOTATION


def test_the_source_of_disabled_workspaces_is_the_place_that_disabled_them() -> None:
    platform = Platform(workspaces=Sourced(False, Source.PLATFORM))
    assert configure(platform, LABELLED, {}).workspace == Sourced(None, Source.PLATFORM)


@pytest.mark.parametrize("order", [1, -1])
def test_a_sidecar_is_the_least_interesting_of_several_reasons(order: int) -> None:
    other = {"name": "main", "env": [{"name": "MLFLOW_TRACKING_URI", "value": "https://other.example"}]}
    both: list[dict[str, Any]] = [{"name": "istio-proxy"}, other]
    decision = decided(*both[::order])
    assert decision.reason is Reason.OTHER_SERVER
    assert [container.index for container in decision.containers] == [0, 1]


@pytest.mark.parametrize("namespace", [None, LABELLED])
def test_a_label_with_another_value_is_named_in_every_case(namespace: Namespace | None) -> None:
    server = {"name": "c", "command": ["mlflow", "server"]}
    for containers in ([], [server]):
        warnings = decided(*containers, namespace=namespace, label="yes").warnings
        assert "label mlflow-enabled=yes of the pod" in warnings[0]


def test_the_record_of_a_removed_container_is_dropped() -> None:
    record = json.dumps({"decision": "wired", "containers": {"gone": ["MLFLOW_WORKSPACE"]}})
    assert decided(decision=record).earlier == {}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("s", SecretKey("s", "token")),
        ("s/k", SecretKey("s", "k")),
        ("a" * 253, SecretKey("a" * 253, "token")),
        ("a" * 254, None),
        ("a" * 254 + "/k", None),
        ("s/", None),
        ("s/a b", None),
        ("S/k", None),
        ("/k", None),
        ("s/a/b", None),
    ],
)
def test_the_name_of_a_secret_and_its_key_are_checked(text: str, secret: SecretKey | None) -> None:
    if secret:
        assert parse_secret(text) == secret
        return
    with pytest.raises(ValueError, match=r"^the name of a Secret, or NAME/KEY$"):
        parse_secret(text)
