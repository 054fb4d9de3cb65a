"""Which parts of a pod are read, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.core.pod import Pod, VolumeMount, decode_args, decode_mounts, decode_volumes
from webhook.core.review import decode_review


def read(**pod: Any) -> Pod:
    """Return a pod from the review of its creation, whose fields nobody has checked."""
    request = {
        "uid": "u",
        "operation": "CREATE",
        "namespace": "team-a",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": pod,
    }
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    found = decode_review(json.dumps(body).encode()).pod
    assert found is not None
    return found


def test_a_pod_without_anything_has_no_containers_labels_annotations_or_name() -> None:
    pod = read()
    assert (list(pod.containers), pod.labels, pod.annotations, pod.name) == ([], {}, {}, "")


def test_null_is_the_same_as_a_missing_field() -> None:
    pod = read(spec={"containers": None}, metadata={"labels": None, "annotations": None, "name": None})
    assert (list(pod.containers), pod.labels, pod.annotations, pod.name) == ([], {}, {}, "")


@pytest.mark.parametrize(
    ("metadata", "name"),
    [({"name": "a"}, "a"), ({"generateName": "b-"}, "b-"), ({"name": "a", "generateName": "b-"}, "a")],
)
def test_the_name_is_the_beginning_of_a_generated_one_until_it_is_generated(metadata: Any, name: str) -> None:
    assert read(metadata=metadata).name == name


@pytest.mark.parametrize(
    ("spec", "expected"), [({}, None), ({"volumes": None}, None), ({"volumes": []}, []), ({"volumes": "x"}, [])]
)
def test_volumes_are_none_without_the_field_and_empty_if_unreadable(spec: Any, expected: Any) -> None:
    assert decode_volumes(read(spec=spec)) == expected


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, None),
        ({"volumeMounts": None}, None),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}]}, [VolumeMount("v", "/v")]),
        ({"volumeMounts": [1]}, []),
    ],
)
def test_mounts_are_none_without_the_field_and_empty_if_they_cannot_be_read(container: Any, expected: Any) -> None:
    (found,) = read(spec={"containers": [container]}).containers
    assert decode_mounts(found) == expected


@pytest.mark.parametrize(
    ("container", "expected"), [({}, []), ({"args": None}, []), ({"args": ["a", "b"]}, ["a", "b"]), ({"args": [1]}, [])]
)
def test_args_are_empty_without_the_field_or_if_they_cannot_be_read(container: Any, expected: list[str]) -> None:
    (found,) = read(spec={"containers": [container]}).containers
    assert list(decode_args(found)) == expected
