"""What a pod with the client plugin gets, and what prevents the plugin."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest

from tests.support.kubelet import projected_files
from tests.support.pods import KFP, TRAINJOB, pod
from webhook.core.client_plugin import ANNOTATIONS_LIMIT, ClientPlugin, is_file_annotation
from webhook.core.configuration import Namespace, Platform, Source, Sourced
from webhook.core.decision import Decision, decide
from webhook.core.patch import patch
from webhook.core.review import decode_pod
from webhook.core.values import SecretKey
from webhook.plugin import load_plugin

ASKS = {"mlflow.kubeflow.org/client-plugin": "true"}
REFUSES = {"mlflow.kubeflow.org/client-plugin": "false"}
PLUGIN = ClientPlugin(version="1.0", files={"mod.py": "code", "mod-1.0.dist-info/entry_points.txt": "points"})
VOLUME = "mlflow-webhook-client-plugin"
MOUNT = {"name": VOLUME, "mountPath": "/var/run/mlflow-webhook", "readOnly": True}
PARTS = ["mod", "entry-points", "wiring"]


def decided(document: dict[str, Any], namespace: dict[str, str] = ASKS, **platform: Any) -> Decision:
    seen = decode_pod(json.dumps(document).encode())
    there = Namespace("team-a", {"mlflow-enabled": "true"}, namespace)
    return decide(seen, namespace=there, platform=Platform(**{"plugin": PLUGIN, **platform}))


def wired(document: dict[str, Any], namespace: dict[str, str] = ASKS, **platform: Any) -> dict[str, Any]:
    operations = patch(decode_pod(json.dumps(document).encode()), decided(document, namespace, **platform))
    result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(document), operations)
    return result


def simple(**container: Any) -> dict[str, Any]:
    labels = {"mlflow-enabled": "true", "app": "notebook"}
    return {"metadata": {"name": "p", "labels": labels}, "spec": {"containers": [{"name": "main", **container}]}}


def has_plugin(document: dict[str, Any]) -> bool:
    """Check that a pod has all of the plugin's parts or none, and return which."""
    names = {entry["name"] for entry in document["spec"]["containers"][0].get("env", [])}
    annotations = document["metadata"].get("annotations", {})
    parts = [
        MOUNT in document["spec"]["containers"][0].get("volumeMounts", []),
        any("projected" in v for v in document["spec"].get("volumes", []) if v["name"] == VOLUME),
        {"PYTHONPATH", "MLFLOW_TRACKING_AUTH"} <= names,
        *(f"client-plugin.mlflow.kubeflow.org/{part}" in annotations for part in PARTS),
    ]
    assert len(set(parts)) == 1, parts
    return parts[0]


def test_a_pod_gets_annotations_with_the_files_a_volume_a_mount_and_two_variables() -> None:
    operations = patch(decode_pod(json.dumps(simple()).encode()), decided(simple()))
    by_path = {operation["path"]: operation["value"] for operation in operations}
    env = by_path["/spec/containers/0/env"]
    assert {"name": "PYTHONPATH", "value": "/var/run/mlflow-webhook/python"} in env
    assert {"name": "MLFLOW_TRACKING_AUTH", "value": "mlflow-webhook"} in env
    assert by_path["/spec/containers/0/volumeMounts"] == [MOUNT]
    field = "metadata.annotations['client-plugin.mlflow.kubeflow.org/{}']".format
    assert by_path["/spec/volumes"] == [
        {
            "name": "mlflow-webhook-client-plugin",
            "projected": {
                "defaultMode": 0o444,
                "sources": [
                    {
                        "downwardAPI": {
                            "items": [
                                {
                                    "path": "python/mod.py",
                                    "fieldRef": {"apiVersion": "v1", "fieldPath": field("mod")},
                                },
                                {
                                    "path": "python/mod-1.0.dist-info/entry_points.txt",
                                    "fieldRef": {"apiVersion": "v1", "fieldPath": field("entry-points")},
                                },
                                {"path": "wiring.json", "fieldRef": {"apiVersion": "v1", "fieldPath": field("wiring")}},
                            ]
                        }
                    },
                    {
                        "secret": {
                            "name": "mlflow-token",
                            "items": [{"key": "token", "path": "token"}],
                            "optional": False,
                        }
                    },
                ],
            },
        }
    ]
    annotations = by_path["/metadata/annotations"]
    assert annotations["client-plugin.mlflow.kubeflow.org/mod"] == "code"
    assert annotations["client-plugin.mlflow.kubeflow.org/entry-points"] == "points"
    assert json.loads(annotations["client-plugin.mlflow.kubeflow.org/wiring"]) == {
        "tracking_uri": "http://mlflow-tracking-server.kubeflow:5000",
        "workspace": "team-a",
        "experiment": "notebook",
        "run_name": None,
    }
    assert json.loads(annotations["mlflow.kubeflow.org/decision"])["clientPlugin"] == {"main": "on"}


def test_the_files_in_the_container_are_the_modules_of_this_package() -> None:
    files = projected_files(wired(simple(), plugin=load_plugin()), VOLUME, secrets={"mlflow-token": {"token": "t"}})
    plugin = load_plugin()
    assert {path: files[f"python/{path}"] for path in plugin.files} == plugin.files
    assert files["token"] == "t"


@pytest.mark.parametrize(
    ("platform", "namespace", "own", "expected"),
    [
        (False, {}, {}, False),
        (True, {}, {}, True),
        (True, REFUSES, {}, False),
        (True, REFUSES, ASKS, True),
        (False, ASKS, {}, True),
        (False, ASKS, REFUSES, False),
        (False, {}, ASKS, True),
    ],
)
def test_the_pod_overrides_the_namespace_and_the_namespace_the_platform(
    platform: bool, namespace: dict[str, str], own: dict[str, str], expected: bool
) -> None:
    document = simple()
    document["metadata"]["annotations"] = own
    assert has_plugin(wired(document, namespace, client_plugin=Sourced(platform))) is expected


@pytest.mark.parametrize(
    ("container", "obstacle"),
    [
        ({"env": [{"name": "PYTHONPATH", "value": "/app"}]}, "python_path_set"),
        ({"env": [{"name": "PYTHONPATH", "value": ""}]}, "python_path_set"),
        (
            {"env": [{"name": "PYTHONPATH", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]},
            "python_path_set",
        ),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var/run/mlflow-webhook"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/run/mlflow-webhook/"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var/run"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var/run/mlflow-webhook/python"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var//lib/../run/./mlflow-webhook"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/a/b/c/../../../run/mlflow-webhook"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var/run/x/../mlflow-webhook"}]}, "mount_path_taken"),
        ({"volumeMounts": [{"name": "mlflow-webhook-client-plugin", "mountPath": "/mine"}]}, "volume_name_taken"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var/run/mlflow-webhook-2"}]}, None),
        ({"volumeMounts": [{"name": "v", "mountPath": "/var/running"}]}, None),
        ({"env": [{"name": "MLFLOW_TRACKING_AUTH", "value": "mlflow-webhook"}]}, None),
    ],
)
def test_a_container_that_has_one_of_the_variables_is_wired_without_the_plugin(
    container: dict[str, Any], obstacle: str | None
) -> None:
    decision = decided(simple(**container))
    result = wired(simple(**container))
    recorded = json.loads(result["metadata"]["annotations"]["mlflow.kubeflow.org/decision"])["clientPlugin"]
    assert recorded == {"main": obstacle or "on"}
    assert "MLFLOW_TRACKING_URI" in {entry["name"] for entry in result["spec"]["containers"][0]["env"]}
    assert has_plugin(result) is (obstacle is None) or "env" in container
    if obstacle:
        (warning,) = decision.warnings
        assert warning.startswith("container main does not get the MLflow client plugin: ")
        assert MOUNT not in result["spec"]["containers"][0].get("volumeMounts", [])


def test_another_volume_with_the_name_prevents_the_plugin() -> None:
    document = simple()
    document["spec"]["volumes"] = [{"name": "mlflow-webhook-client-plugin", "emptyDir": {}}]
    result = wired(document)
    assert result["spec"]["volumes"] == document["spec"]["volumes"]
    assert "volume_name_taken" in result["metadata"]["annotations"]["mlflow.kubeflow.org/decision"]


WIRING = "metadata.annotations['client-plugin.mlflow.kubeflow.org/wiring']"


@pytest.mark.parametrize(
    "source",
    [
        {"configMap": {"name": "c"}},
        {"downwardAPI": {}},
        {"downwardAPI": {"items": [{"path": "wiring.json", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"downwardAPI": {"items": [{"path": "other.json", "fieldRef": {"fieldPath": WIRING}}]}},
        {"downwardAPI": {"items": [{"path": "wiring.json", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
    ],
    ids=["another source", "no files", "another field", "another path", "no field"],
)
def test_a_volume_that_only_looks_like_the_plugins_prevents_the_plugin(source: dict[str, Any]) -> None:
    document = simple()
    document["spec"]["volumes"] = [{"name": VOLUME, "projected": {"sources": [source]}}]
    assert "volume_name_taken" in wired(document)["metadata"]["annotations"]["mlflow.kubeflow.org/decision"]


def test_the_plugins_volume_is_known_among_other_files_and_sources() -> None:
    document = simple()
    files = [{"path": "x", "resourceFieldRef": {}}, {"path": "wiring.json", "fieldRef": {"fieldPath": WIRING}}]
    sources = [{"secret": {"name": "s"}}, {"downwardAPI": {"items": files}}]
    document["spec"]["volumes"] = [{"name": VOLUME, "projected": {"sources": sources}}]
    result = wired(document)
    assert result["spec"]["volumes"] == document["spec"]["volumes"]
    assert MOUNT in result["spec"]["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(("more", "obstacle"), [(0, "on"), (1, "annotations_too_large")])
def test_the_room_in_annotations_is_used_to_the_last_byte(more: int, obstacle: str) -> None:
    """8 KiB are kept for the record of the decision."""
    plain = wired(simple())["metadata"]["annotations"]
    del plain["mlflow.kubeflow.org/decision"]
    used = sum(len(name.encode()) + len(text.encode()) for name, text in plain.items())
    document = simple()
    document["metadata"]["annotations"] = {"é": "é" * ((ANNOTATIONS_LIMIT - 8192 - used - 2) // 2) + "x" * more}
    odd = (ANNOTATIONS_LIMIT - 8192 - used - 2) % 2
    document["metadata"]["annotations"]["é"] += "x" * odd
    record = json.loads(wired(document)["metadata"]["annotations"]["mlflow.kubeflow.org/decision"])
    assert record["clientPlugin"] == {"main": obstacle}


def test_annotations_with_files_are_recognised() -> None:
    names = wired(simple())["metadata"]["annotations"]
    assert sorted(filter(is_file_annotation, [*names, "x", "client-plugin.mlflow.kubeflow.org"])) == [
        "client-plugin.mlflow.kubeflow.org/entry-points",
        "client-plugin.mlflow.kubeflow.org/mod",
    ]


def test_the_source_of_the_plugins_variables_is_the_place_that_turned_it_on() -> None:
    (container,) = decided(simple()).containers
    sources = {variable.name: variable.source for variable in container.variables if variable.group == "plugin"}
    assert sources == {"PYTHONPATH": Source.NAMESPACE_ANNOTATION, "MLFLOW_TRACKING_AUTH": Source.NAMESPACE_ANNOTATION}


def test_annotations_without_room_prevent_the_plugin() -> None:
    document = simple()
    document["metadata"]["annotations"] = {"big": "x" * (ANNOTATIONS_LIMIT - 8000)}
    result = wired(document)
    assert "annotations_too_large" in result["metadata"]["annotations"]["mlflow.kubeflow.org/decision"]
    assert "volumes" not in result["spec"]


def test_a_platform_that_sets_python_path_keeps_its_own() -> None:
    result = wired(simple(), env={"PYTHONPATH": "/platform"})
    assert {"name": "PYTHONPATH", "value": "/platform"} in result["spec"]["containers"][0]["env"]
    assert "python_path_set" in result["metadata"]["annotations"]["mlflow.kubeflow.org/decision"]


@pytest.mark.parametrize(
    "env",
    [
        [{"name": "MLFLOW_TRACKING_URI", "value": "https://other.example"}],
        [{"name": "MLFLOW_TRACKING_AUTH", "value": "their-plugin"}],
        [{"name": "MLFLOW_TRACKING_TOKEN", "value": "x"}],
    ],
)
def test_a_container_with_its_own_server_or_credentials_gets_no_file_with_the_token(env: list[dict[str, str]]) -> None:
    result = wired(simple(env=env))
    assert "volumes" not in result["spec"]
    assert result["spec"]["containers"] == simple(env=env)["spec"]["containers"]


def test_without_a_token_there_is_no_secret_in_the_volume() -> None:
    volume = wired(simple(), token_secret=None)["spec"]["volumes"][0]
    assert [list(source) for source in volume["projected"]["sources"]] == [["downwardAPI"]]


@pytest.mark.parametrize(
    ("sample", "name", "optional"), [(KFP, "main", True), (TRAINJOB, "node", True)], ids=["kfp", "trainjob"]
)
def test_a_captured_pod_keeps_its_volumes_and_mounts_in_order_and_only_its_container_is_mounted(
    sample: str, name: str, optional: bool
) -> None:
    before = pod(sample)
    after = wired(before, token_secret=Sourced(SecretKey("t", "k")))
    assert after["spec"]["volumes"][:-1] == before["spec"]["volumes"]
    secret = after["spec"]["volumes"][-1]["projected"]["sources"][1]["secret"]
    assert secret == {"name": "t", "items": [{"key": "k", "path": "token"}], "optional": optional}
    for kind in ("containers", "initContainers"):
        for old, new in zip(before["spec"].get(kind, []), after["spec"].get(kind, []), strict=True):
            extra = [MOUNT] if new["name"] == name else []
            assert new.get("volumeMounts", []) == [*old.get("volumeMounts", []), *extra]


def test_a_second_call_changes_nothing() -> None:
    once = wired(simple())
    assert patch(decode_pod(json.dumps(once).encode()), decided(once)) == []
    assert decided(once).warnings == ()


def test_a_pod_that_was_wired_without_the_plugin_gets_it_when_it_asks_later() -> None:
    once = wired(simple(), {})
    assert not has_plugin(once)
    once["metadata"]["annotations"].update(ASKS)
    assert has_plugin(wired(once, {}))


def test_a_sidecar_that_another_webhook_adds_gets_nothing() -> None:
    once = wired(simple())
    once["spec"]["containers"].append({"name": "istio-proxy"})
    assert wired(once) == once
