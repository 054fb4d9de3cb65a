"""A server and its credentials belong together: what a container has decides whether it is wired."""

from __future__ import annotations

import copy
import json
import tracemalloc
from typing import Any

import jsonpatch
import pytest

from webhook.core import names
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import Decision, decide
from webhook.core.environment import LONGEST, EnvFrom, env_from, known_values
from webhook.core.patch import patch
from webhook.core.pod import Container, EnvFromSource, EnvVar, NamedReference
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod

URI = Platform().tracking_uri.value
OTHER = "https://other.example"
LABELLED = Namespace("team-a", {"mlflow-enabled": "true"}, {})
WIRED = Reason.WIRED_BY_POD_LABEL
TOKEN = {"name": names.TRACKING_TOKEN, "valueFrom": {"secretKeyRef": {"name": "mlflow-token", "key": "token"}}}
BESIDE_THE_TRACKING_URI = [name for name in names.TOKEN_SERVERS if name != names.TRACKING_URI]


def literal(**values: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def reference(name: str, **source: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": source or {"configMapKeyRef": {"name": "c", "key": "k"}}}


def pod(*env: dict[str, Any], record: object = None) -> dict[str, Any]:
    annotations = {names.DECISION_ANNOTATION: json.dumps(record)} if record else {}
    metadata = {"name": "p", "labels": {"mlflow-enabled": "true"}, "annotations": annotations}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "env": list(env)}]}}


def decision(document: dict[str, Any]) -> Decision:
    return decide(decode_pod(json.dumps(document).encode()), namespace=LABELLED, platform=Platform())


def wired(document: dict[str, Any]) -> dict[str, Any]:
    seen = decode_pod(json.dumps(document).encode())
    result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(document), patch(seen, decision(document)))
    return result


def given(document: dict[str, Any]) -> set[str]:
    return {variable.name for variable in decision(document).containers[0].variables}


@pytest.mark.parametrize("name", names.TOKEN_SERVERS)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (URI, WIRED),
        (f"{URI}/path", WIRED),
        (OTHER, Reason.OTHER_SERVER),
        (f"{URI}.other.example", Reason.OTHER_SERVER),
        ("databricks", Reason.OTHER_SERVER),
        ("$(ABSENT)", Reason.SERVER_NOT_READABLE),
        (f"{URI}/$(ABSENT)", Reason.SERVER_NOT_READABLE),
        ("x" * 10_000, Reason.SERVER_NOT_READABLE),
    ],
)
def test_a_server_to_which_the_client_sends_the_token_must_be_the_configured_one(
    name: str, value: str, reason: Reason
) -> None:
    found = decision(pod(*literal(**{name: value})))
    assert found.reason is reason
    assert (names.TRACKING_TOKEN in given(pod(*literal(**{name: value})))) is (reason is WIRED)
    if reason is not WIRED:
        assert found.containers[0].variable == name
        assert name in "".join(found.warnings)


@pytest.mark.parametrize("name", names.TOKEN_SERVERS)
@pytest.mark.parametrize(
    "source",
    [
        {"configMapKeyRef": {"name": "c", "key": "k"}},
        {"secretKeyRef": {"name": "s", "key": "k"}},
        {"fieldRef": {"fieldPath": "metadata.annotations['server']"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
        {},
    ],
    ids=lambda source: next(iter(source), "nothing"),
)
def test_a_server_from_a_reference_is_called_unreadable_and_not_another_server(
    name: str, source: dict[str, Any]
) -> None:
    assert decision(pod({"name": name, "valueFrom": source})).reason is Reason.SERVER_NOT_READABLE


@pytest.mark.parametrize("entry", [{"value": ""}, {"value": None}, {}], ids=["empty", "null", "absent"])
def test_an_empty_server_counts_as_unset(entry: dict[str, Any]) -> None:
    for name in BESIDE_THE_TRACKING_URI:
        assert names.TRACKING_TOKEN in given(pod({"name": name, **entry}))
    assert decision(pod({"name": names.TRACKING_URI, **entry})).reason is Reason.SERVER_EMPTY


def test_another_server_is_named_rather_than_one_that_cannot_be_read() -> None:
    env = [reference(names.TRACKING_URI), *literal(MLFLOW_GATEWAY_URI=OTHER)]
    assert decision(pod(*env)).reason is Reason.OTHER_SERVER


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (literal(SERVER=URI, MLFLOW_TRACKING_URI="$(SERVER)"), WIRED),
        (literal(HOST="mlflow-tracking-server", MLFLOW_TRACKING_URI="http://$(HOST).kubeflow:5000"), WIRED),
        (literal(SERVER=OTHER, MLFLOW_TRACKING_URI="$(SERVER)"), Reason.OTHER_SERVER),
        (literal(A=OTHER, SERVER="$(A)", MLFLOW_TRACKING_URI="$(SERVER)"), Reason.OTHER_SERVER),
        (literal(EMPTY="", MLFLOW_TRACKING_URI="$(EMPTY)"), Reason.SERVER_EMPTY),
        (literal(SERVER=URI, MLFLOW_TRACKING_URI="$$(SERVER)"), Reason.OTHER_SERVER),
        (literal(MLFLOW_TRACKING_URI="$(SERVER)", SERVER=URI), Reason.SERVER_NOT_READABLE),
        ([reference("SERVER"), *literal(MLFLOW_TRACKING_URI="$(SERVER)")], Reason.SERVER_NOT_READABLE),
        (literal(MLFLOW_REGISTRY_URI="$(MLFLOW_TRACKING_URI)"), WIRED),
        (literal(MLFLOW_TRACKING_URI=OTHER, MLFLOW_REGISTRY_URI="$(MLFLOW_TRACKING_URI)"), Reason.OTHER_SERVER),
        (literal(MLFLOW_REGISTRY_URI="$(MLFLOW_TRACKING_URI)", MLFLOW_TRACKING_URI=URI), Reason.SERVER_NOT_READABLE),
        ([*literal(MLFLOW_TRACKING_URI=OTHER), *literal(MLFLOW_TRACKING_URI=URI)], WIRED),
        ([*literal(MLFLOW_TRACKING_URI=URI), *literal(MLFLOW_TRACKING_URI=OTHER)], Reason.OTHER_SERVER),
        ([*literal(A=URI), *literal(A=OTHER), *literal(MLFLOW_TRACKING_URI="$(A)")], Reason.OTHER_SERVER),
    ],
)
def test_references_to_earlier_variables_are_followed_as_the_kubelet_does(
    env: list[dict[str, Any]], reason: Reason
) -> None:
    assert decision(pod(*env)).reason is reason


@pytest.mark.timeout(60)
def test_references_that_double_a_value_again_and_again_take_no_time() -> None:
    env = literal(A0="x" * 100)
    env += [{"name": f"A{i}", "value": f"$(A{i - 1})$(A{i - 1})"} for i in range(1, 300)]
    assert decision(pod(*env, *literal(MLFLOW_TRACKING_URI="$(A299)"))).reason is Reason.SERVER_NOT_READABLE


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"A": "a$$b$$(C)"}, "a$b$(C)"),
        ({"A": "x" * LONGEST}, "x" * LONGEST),
        ({"A": "x" * (LONGEST + 1)}, None),
        ({"A": "x" * LONGEST, "B": "$(A)"}, "x" * LONGEST),
        ({"A": "x" * (LONGEST - 2), "B": "$(A)yz"}, "x" * (LONGEST - 2) + "yz"),
        ({"A": "x" * (LONGEST - 2), "B": "$(A)xyz"}, None),
        ({"A": "x" * LONGEST, "B": "$(A)$(A)"}, None),
    ],
    ids=["dollars", "as long as allowed", "too long", "by reference", "together", "too long together", "twice"],
)
def test_values_are_known_up_to_a_length(entries: dict[str, str], expected: str | None) -> None:
    values = known_values([EnvVar(name=name, value=value) for name, value in entries.items()], {})
    assert values[list(entries)[-1]] == expected


def test_many_references_to_a_long_value_are_not_expanded() -> None:
    entries = [EnvVar(name="A", value="x" * 8000), EnvVar(name="B", value="$(A)" * 2000)]
    tracemalloc.start()
    try:
        assert known_values(entries, {})["B"] is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20  # put together they have 16 million characters
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", sorted(names.CREDENTIALS))
def test_credentials_from_elsewhere_do_not_go_to_the_configured_server(name: str) -> None:
    for entry in (*literal(**{name: "true"}), reference(name), *literal(**{name: "$(ABSENT)"})):
        found = decision(pod(entry))
        assert found.reason is Reason.FOREIGN_CREDENTIALS
        assert found.containers[0].variable == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_USERNAME", ""),
        ("MLFLOW_TRACKING_PASSWORD", ""),
        ("MLFLOW_TRACKING_AUTH", ""),
        ("MLFLOW_TRACKING_AWS_SIGV4", "false"),
        ("MLFLOW_TRACKING_AWS_SIGV4", "False"),
        ("MLFLOW_TRACKING_AWS_SIGV4", "0"),
    ],
)
def test_credentials_that_are_off_do_not_count(name: str, value: str) -> None:
    assert names.TRACKING_TOKEN in given(pod(*literal(**{name: value})))


@pytest.mark.parametrize("value", ["", "no", "off", " false"])
def test_a_value_with_which_mlflow_refuses_to_sign_counts(value: str) -> None:
    found = decision(pod(*literal(MLFLOW_TRACKING_AWS_SIGV4=value)))
    assert found.reason is Reason.FOREIGN_CREDENTIALS
    assert found.containers[0].variable == "MLFLOW_TRACKING_AWS_SIGV4"


def test_an_empty_token_is_not_called_credentials_and_no_token_is_added() -> None:
    empty = literal(MLFLOW_TRACKING_TOKEN="")
    assert decision(pod(*empty)).reason is Reason.TOKEN_EMPTY
    assert decision(pod(*literal(EMPTY="", MLFLOW_TRACKING_TOKEN="$(EMPTY)"))).reason is Reason.TOKEN_EMPTY
    with_server = decision(pod(*empty, *literal(MLFLOW_TRACKING_URI=URI)))
    assert with_server.reason is WIRED
    assert names.TRACKING_TOKEN not in {variable.name for variable in with_server.containers[0].variables}


PLUGIN = literal(KFP_MLFLOW_CONFIG="{}", MLFLOW_RUN_ID="abc")


def test_a_second_call_does_not_mistake_its_own_wiring_for_that_of_the_kfp_plugin() -> None:
    first = wired(pod(*PLUGIN))
    assert decision(first).reason is Reason.ALREADY_WIRED
    assert wired(first) == first


def test_a_second_call_adds_only_what_is_still_missing() -> None:
    first = wired(pod(*PLUGIN))
    env = first["spec"]["containers"][0]["env"]
    env.remove(next(entry for entry in env if entry["name"] == names.WORKSPACE))
    env.append({"name": "ADDED_BY_ANOTHER_WEBHOOK", "value": "x"})
    assert given(first) == {names.WORKSPACE}


def test_a_container_that_the_kfp_plugin_wired_is_not_changed() -> None:
    assert decision(pod(*PLUGIN, *literal(MLFLOW_TRACKING_URI=URI))).reason is Reason.KFP_PLUGIN


def test_credentials_that_come_after_the_wiring_are_noticed_although_there_is_a_server_by_then() -> None:
    first = wired(pod())
    first["spec"]["containers"][0]["env"] += literal(MLFLOW_TRACKING_USERNAME="x", MLFLOW_TRACKING_PASSWORD="y")
    assert decision(first).reason is Reason.FOREIGN_CREDENTIALS


@pytest.mark.parametrize("name", names.TOKEN_SERVERS)
@pytest.mark.parametrize("value", [OTHER, "$(ABSENT)", ""])
def test_a_forged_record_sends_no_token_to_another_server(name: str, value: str) -> None:
    record = {"decision": "wired", "reason": "wired_by_pod_label", "containers": {"c": sorted(names.MANAGED)}}
    env = literal(**{name: value})
    assert given(pod(*env, record=record)) == given(pod(*env))
    if value or name == names.TRACKING_URI:
        assert not given(pod(*env, record=record))


def test_a_forged_record_sends_no_credentials_to_the_configured_server() -> None:
    record = {"decision": "wired", "containers": {"c": sorted(names.MANAGED)}}
    assert not given(pod(*literal(MLFLOW_TRACKING_PASSWORD="x"), record=record))
    assert given(pod(TOKEN, record=record)) == given(pod(TOKEN))


def test_what_a_container_takes_variables_from_is_listed_with_its_prefix() -> None:
    sources = [
        EnvFromSource(secret_ref=NamedReference("s"), prefix="P_"),
        EnvFromSource(config_map_ref=NamedReference("c")),
        EnvFromSource(config_map_ref=NamedReference("metadata-grpc-configmap")),
        EnvFromSource(secret_ref=NamedReference()),
    ]
    assert env_from(Container(env_from=sources)) == [EnvFrom("Secret", "s", "P_"), EnvFrom("ConfigMap", "c", "")]
