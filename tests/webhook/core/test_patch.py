"""What the patch does to a pod."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest

from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import decide
from webhook.core.names import DECISION_ANNOTATION
from webhook.core.patch import patch
from webhook.core.review import decode_pod

LABELLED = Namespace("team-a", {"mlflow-enabled": "true"}, {})
ELSEWHERE = {"name": "MLFLOW_TRACKING_URI", "value": "https://elsewhere.example"}


def operations(document: dict[str, Any], *, at: str = "") -> list[dict[str, Any]]:
    pod = decode_pod(json.dumps(document).encode())
    return patch(pod, decide(pod, namespace=LABELLED, platform=Platform()), at=at)


def asking(container: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"mlflow-enabled": "true"}, **metadata}, "spec": {"containers": [container]}}


def test_variables_are_put_before_the_containers_own_in_one_operation_each() -> None:
    added = [entry for entry in operations(asking({"name": "a", "env": [{"name": "B"}]})) if "/env" in entry["path"]]
    assert [entry["path"] for entry in added] == [f"/spec/containers/0/env/{place}" for place in range(len(added))]
    assert {entry["op"] for entry in added} == {"add"}


def test_a_container_without_env_gets_the_whole_list_in_one_operation() -> None:
    (added,) = [entry for entry in operations(asking({"name": "a"})) if "/env" in entry["path"]]
    assert added["path"] == "/spec/containers/0/env"
    assert added["value"][0]["name"] == "MLFLOW_TRACKING_URI"


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({}, "/metadata/annotations"),
        ({"annotations": {}}, "/metadata/annotations/mlflow.kubeflow.org~1decision"),
        ({"annotations": {"a": "b"}}, "/metadata/annotations/mlflow.kubeflow.org~1decision"),
    ],
)
def test_the_record_is_added_to_the_annotations_that_the_pod_has(metadata: dict[str, Any], path: str) -> None:
    assert operations(asking({"name": "a"}, **metadata))[-1]["path"] == path


def test_paths_begin_at_the_template() -> None:
    found = operations(asking({"name": "a"}), at="/spec/template")
    assert all(entry["path"].startswith("/spec/template/") for entry in found)


def test_a_record_that_the_pod_already_has_is_not_written_again() -> None:
    document = asking({"name": "a", "env": [ELSEWHERE]})
    (recorded,) = operations(document)
    assert DECISION_ANNOTATION in recorded["value"]
    assert operations(jsonpatch.apply_patch(copy.deepcopy(document), [recorded])) == []


def test_a_pod_that_nobody_asked_to_wire_is_not_changed() -> None:
    assert operations({"spec": {"containers": [{"name": "web"}]}}) == []
