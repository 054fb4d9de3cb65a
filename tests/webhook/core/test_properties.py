"""Properties that hold for every pod, every namespace and every configuration of the platform."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jsonpatch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import security_examples
from tests.support.kubelet import container_environment, projected_files
from tests.support.pods import KFP, TRAINJOB, pod
from webhook.core import names
from webhook.core.client_plugin import MOUNT_PATH, VARIABLES, VOLUME, ClientPlugin
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import Decision, decide
from webhook.core.patch import Operation, patch
from webhook.core.reasons import Reason
from webhook.core.review import decode_pod
from webhook.core.values import SecretKey

OURS = "http://mlflow-tracking-server.kubeflow:5000"
SERVERS = [
    OURS,
    f"{OURS}/path",
    "HTTP://MLFLOW-tracking-server.kubeflow.:5000",
    "https://mlflow-tracking-server.kubeflow:5000",
    "http://mlflow-tracking-server.kubeflow",
    f"{OURS}0",
    f"{OURS}.other.example",
    f"{OURS}@other.example",
    "https://other.example",
]
REFERENCES = [f"$({name})" for name in (names.TRACKING_URI, names.TOKEN_SERVERS[1], "OWN", "ABSENT")]
NO_SERVER = {f"{OURS}.other.example", f"{OURS}@other.example", "no address", ""}
OFF = {"", "false", names.PLUGIN_AUTH}
"""Values of credentials with which MLflow's client does not authenticate."""
SECRETS = ["mlflow-token", "other-token"]
FULL_SECRETS = {name: {"token": "x", "key": "x"} for name in SECRETS}
PATHS = re.compile(
    r"/spec/containers/\d+/env(/\d+)?|/spec/containers/\d+/volumeMounts(/-)?|/spec/volumes(/-)?"
    r"|/metadata/annotations(/mlflow\.kubeflow\.org~1decision|/client-plugin\.mlflow\.kubeflow\.org~1[a-z-]+)?"
)
PLUGIN = ClientPlugin(version="1", files={"mod.py": "code", "mod-1.dist-info/entry_points.txt": "points"})
PLUGIN_ANNOTATIONS = "client-plugin.mlflow.kubeflow.org/"
PLUGIN_VARIABLES = {names.PYTHON_PATH, names.TRACKING_AUTH}


class Case(NamedTuple):
    document: dict[str, Any]
    namespace: Namespace
    platform: Platform


def _annotations(**more: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    keys = {
        "tracking-uri": st.sampled_from([*SERVERS, "no address", ""]),
        "workspace": st.sampled_from(["team-b", "", "Not One"]),
        "experiment": st.sampled_from(["theirs", "$(HOME)", ""]),
        "token-secret": st.sampled_from([*SECRETS, "other-token/token", "other-token/key", "Not/A/Secret"]),
        "token-optional": st.sampled_from(["true", "false", "perhaps"]),
        "lineage": st.sampled_from(["true", "false", "perhaps"]),
        "client-plugin": st.sampled_from(["true", "true", "false", "perhaps"]),
        "unknown": st.just("x"),
        **more,
    }
    optional = {f"{names.ANNOTATION_GROUP}/{key}": values for key, values in keys.items()}
    return st.fixed_dictionaries({}, optional={"own": st.just("x"), **optional})


_NAMES = st.sampled_from(sorted(names.MANAGED | {names.KFP_PLUGIN_CONFIG, *PLUGIN_VARIABLES, "OWN", "EXTRA"}))
_ENTRIES = (
    st.fixed_dictionaries(
        {
            "name": _NAMES,
            "value": st.sampled_from(["", "text", "false", OURS, "https://other.example", "$(OWN)", "$$(OWN)"]),
        }
    )
    | st.fixed_dictionaries(
        {"name": st.sampled_from(names.TOKEN_SERVERS), "value": st.sampled_from([*SERVERS, *REFERENCES, ""])}
    )
    | st.fixed_dictionaries(
        {"name": st.sampled_from(sorted(PLUGIN_VARIABLES)), "value": st.sampled_from([*VARIABLES.values(), "/app"])}
    )
    | st.builds(
        lambda name, secret: {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "token"}}},
        st.sampled_from([names.TRACKING_TOKEN, *sorted(names.CREDENTIALS)]),
        st.sampled_from(SECRETS),
    )
    | st.builds(lambda name: {"name": name, "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}, _NAMES)
)
_MOUNTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["data", "data", VOLUME]),
        "mountPath": st.sampled_from(["/data", "/var/run", "/run/mlflow-webhook/python", MOUNT_PATH]),
    }
)
_VOLUMES = st.fixed_dictionaries({"name": st.sampled_from(["data", VOLUME]), "emptyDir": st.just({})})
_CONTAINERS = st.fixed_dictionaries(
    {"image": st.just("i")},
    optional={
        "env": st.lists(_ENTRIES, max_size=4),
        # the API server refuses two mounts at one path
        "volumeMounts": st.lists(_MOUNTS, max_size=2, unique_by=lambda mount: mount["mountPath"]),
    },
)
_INIT_CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["init", "istio-proxy", "main"])},
        optional={"env": st.lists(_ENTRIES, max_size=2), "restartPolicy": st.just("Always")},
    ),
    max_size=2,
    unique_by=lambda container: str(container["name"]),
)
_POD_ANNOTATIONS = _annotations(
    containers=st.sampled_from(["main", "node", "helper", "helper, main, node", "absent", "Not One"]),
    decision=st.sampled_from(
        [
            '{"decision":"wired"}',
            '{"decision":"skipped"}',
            '{"decision":"wired","containers":{"main":["OWN","MLFLOW_WORKSPACE"],"absent":["OWN"]}}',
            '{"decision":"wired","containers":["main"]}',
            json.dumps({"decision": "wired", "containers": {name: sorted(names.MANAGED) for name in ("main", "node")}}),
            "invalid",
        ]
    ),
)
_PLATFORMS = st.builds(
    Platform,
    tracking_uri=st.sampled_from([Sourced(OURS), Sourced("https://elsewhere.example")]),
    token_secret=st.sampled_from([Sourced(SecretKey(name)) for name in SECRETS]),
    workspaces=st.builds(Sourced, st.booleans()),
    lineage=st.builds(Sourced, st.booleans()),
    client_plugin=st.builds(Sourced, st.booleans()),
    plugin=st.sampled_from([PLUGIN, PLUGIN, None]),
    env=st.sampled_from([{}, {"EXTRA": "x"}, {names.PYTHON_PATH: "/platform"}]),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a KFP component, a TrainJob's node or any other pod, with one to three containers."""
    sample = draw(st.sampled_from([KFP, TRAINJOB, None]))
    document: dict[str, Any] = copy.deepcopy(pod(sample)) if sample else {"metadata": {"name": "p"}, "spec": {}}
    metadata, spec = document["metadata"], document["spec"]
    metadata.pop("managedFields", None)
    others = st.lists(st.sampled_from(["helper", "istio-proxy", "wait"]), max_size=2, unique=True)
    called = draw(st.permutations(["node" if sample == TRAINJOB else "main", *draw(others)]))
    own = {container["name"]: container for container in spec.get("containers", [])}
    spec["containers"] = [{**own.get(name, {}), "name": name, **draw(_CONTAINERS)} for name in called]
    if volumes := draw(st.lists(_VOLUMES, max_size=1)):
        spec.setdefault("volumes", []).extend(volumes)
    spec["initContainers"] = [*spec.get("initContainers", []), *draw(_INIT_CONTAINERS)]
    if label := draw(st.sampled_from([None, "true", "true", "false"])):
        metadata.setdefault("labels", {})[names.LABEL] = label
    if annotations := draw(_POD_ANNOTATIONS):
        metadata.setdefault("annotations", {}).update(annotations)
    labels = draw(st.sampled_from([{}, {names.LABEL: "true"}]))
    return Case(document, Namespace("team-a", labels, draw(_annotations())), draw(_PLATFORMS))


def decided(case: Case) -> Decision:
    seen = decode_pod(json.dumps(case.document).encode())
    return decide(seen, namespace=case.namespace, platform=case.platform)


def operations(case: Case) -> list[Operation]:
    return patch(decode_pod(json.dumps(case.document).encode()), decided(case))


def wired(case: Case) -> dict[str, Any]:
    document: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(case.document), operations(case))
    return document


def added(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries before a container's own."""
    own, entries = before.get("env", []), after.get("env", [])
    return list(entries[: len(entries) - len(own)])


def origin(uri: str) -> tuple[str, str, int]:
    parts = urlsplit(uri)
    assert parts.hostname
    assert parts.username is None
    return parts.scheme, parts.hostname.rstrip("."), parts.port or {"http": 80, "https": 443}[parts.scheme]


def server_of_the_token(case: Case) -> str:
    """Return the server of the pod when the pod names a token too, else the namespace's, else the platform's."""
    own = case.document["metadata"].get("annotations") or {}
    named = own.get(f"{names.ANNOTATION_GROUP}/token-secret", "Not/A/Secret") != "Not/A/Secret"
    uris = [
        own.get(f"{names.ANNOTATION_GROUP}/tracking-uri", "") if named else "",
        case.namespace.annotations.get(f"{names.ANNOTATION_GROUP}/tracking-uri", ""),
    ]
    return next((uri for uri in uris if uri not in NO_SERVER), case.platform.tracking_uri.value)


@given(cases())
def test_what_a_pod_has_stays_as_it_is_and_no_variable_comes_twice(case: Case) -> None:
    after = wired(case)
    for old, new in zip(case.document["spec"]["containers"], after["spec"]["containers"], strict=True):
        given_names = [entry["name"] for entry in added(old, new)]
        assert len(given_names) == len(set(given_names))
        assert not set(given_names) & {entry["name"] for entry in old.get("env", [])}
        assert new.get("env", [])[len(given_names) :] == old.get("env", [])
        assert new.get("volumeMounts", [])[: len(old.get("volumeMounts", []))] == old.get("volumeMounts", [])
        assert {**new, "env": None, "volumeMounts": None} == {**old, "env": None, "volumeMounts": None}
    own_volumes = case.document["spec"].get("volumes", [])
    assert after["spec"].pop("volumes", [])[: len(own_volumes)] == own_volumes
    for document in (after, before := copy.deepcopy(case.document)):
        document["spec"].pop("containers")
        document["spec"].pop("volumes", None)
        annotations = document["metadata"].pop("annotations", {})
        annotations.pop(names.DECISION_ANNOTATION, None)
        document["annotations"] = {k: v for k, v in annotations.items() if not k.startswith(PLUGIN_ANNOTATIONS)}
    assert after == before


@settings(max_examples=security_examples())
@given(cases())
def test_only_containers_with_the_token_of_its_server_get_the_plugin_and_they_get_all_of_it(case: Case) -> None:
    after = wired(case)
    with_plugin = {container.name for container in decided(case).containers if container.plugin}
    for old, new in zip(case.document["spec"]["containers"], after["spec"]["containers"], strict=True):
        variables = {entry["name"]: entry.get("value") for entry in added(old, new)}
        extra = new.get("volumeMounts", [])[len(old.get("volumeMounts", [])) :]
        if new["name"] not in with_plugin:
            assert not extra
            assert variables.get(names.PYTHON_PATH) in {None, "/platform"}
            assert variables.get(names.TRACKING_AUTH) is None
            continue
        # a mount that the container has already, at the same place, stays as it is
        (mount,) = [mount for mount in new["volumeMounts"] if mount["name"] == VOLUME]
        assert mount["mountPath"] == MOUNT_PATH
        assert extra in ([], [{"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}])
        environment = container_environment(after, new["name"], secrets=FULL_SECRETS)
        assert {name: environment[name] for name in PLUGIN_VARIABLES} == dict(VARIABLES)
        server = origin(environment[names.TRACKING_URI])
        assert origin(json.loads(after["metadata"]["annotations"][f"{PLUGIN_ANNOTATIONS}wiring"])["tracking_uri"]) == (
            server
        )
    volumes = [volume for volume in after["spec"].get("volumes", []) if volume["name"] == VOLUME]
    if with_plugin:
        (volume,) = volumes
        assert {"wiring.json", "python/mod.py"} <= projected_files(after, VOLUME, secrets=FULL_SECRETS).keys()
        if any("secret" in source for source in volume["projected"]["sources"]):
            assert server == origin(server_of_the_token(case))
    else:
        assert after["spec"].get("volumes") == case.document["spec"].get("volumes")


@given(cases())
def test_the_patch_does_nothing_but_add_variables_and_the_record(case: Case) -> None:
    for operation in operations(case):
        assert operation["op"] == "add"
        assert PATHS.fullmatch(operation["path"]), operation["path"]


@given(cases())
def test_a_second_call_changes_nothing_more(case: Case) -> None:
    again = case._replace(document=wired(case))
    assert operations(again) == []
    if decided(case).reason in {Reason.WIRED_BY_POD_LABEL, Reason.WIRED_BY_NAMESPACE_LABEL}:
        assert decided(again).reason is Reason.ALREADY_WIRED


@given(cases())
def test_a_pod_that_asks_and_is_not_wired_gets_a_warning(case: Case) -> None:
    decision = decided(case)
    if not decision.explicit or decision.reason.verdict == "wired":
        return
    expected = {Reason.KFP_PLUGIN, Reason.NOTHING_TO_ADD, Reason.KFP_DRIVER, Reason.KFP_IMPORTER}
    assert decision.warnings or decision.reason in expected


@given(cases())
def test_the_record_names_every_variable_that_was_added_and_none_that_is_not_there(case: Case) -> None:
    after = wired(case)
    if after == case.document:
        return
    record = json.loads(after["metadata"]["annotations"][names.DECISION_ANNOTATION])
    for old, new in zip(case.document["spec"]["containers"], after["spec"]["containers"], strict=True):
        recorded = record.get("containers", {}).pop(new["name"], [])
        assert {entry["name"] for entry in added(old, new)} <= set(recorded)
        assert {entry["name"] for entry in new.get("env", [])} >= set(recorded)
        assert len(recorded) == len(set(recorded))
    assert not record.get("containers")


@settings(max_examples=security_examples())
@given(cases())
def test_a_token_goes_only_to_its_server(case: Case) -> None:
    after = wired(case)
    for old, new in zip(case.document["spec"]["containers"], after["spec"]["containers"], strict=True):
        if not any(entry["name"] == names.TRACKING_TOKEN for entry in added(old, new)):
            continue
        environment = container_environment(after, new["name"], secrets=FULL_SECRETS)
        for name in names.CREDENTIALS & environment.keys() - {names.TRACKING_TOKEN}:
            assert environment[name] in OFF
        for name in environment.keys() & {*names.TOKEN_SERVERS}:
            if name == names.TRACKING_URI or environment[name]:
                assert origin(environment[name]) == origin(server_of_the_token(case))
