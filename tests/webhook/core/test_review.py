from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pods import KFP, review
from webhook.core.review import MalformedReviewError, decode_pod, decode_review, encode_answer


def changed(**request: Any) -> bytes:
    document = review(KFP)
    document["request"].update(request)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"hello", "not JSON"),
        (b'{"kind": "Adm', "not JSON"),
        (b'{"kind": "\xff"}', "not UTF-8"),
        (b"[]", "wrong type"),
        (b'{"kind": "Pod"}', "not an AdmissionReview"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "admission.k8s.io/v1"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "no request"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (changed(object=None), "no object"),
        (changed(namespace=""), "no namespace"),
        (changed(object={"spec": {"containers": [{"name": 1}]}}), "containers[0].name"),
        (changed(object={"metadata": {"labels": {"a": "canary", "b": 2}}}), "metadata.labels"),
    ],
)
def test_a_malformed_review_is_refused_with_a_sentence_that_quotes_nothing(body: bytes, sentence: str) -> None:
    with pytest.raises(MalformedReviewError) as caught:
        decode_review(body)
    assert sentence in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "request_", [{"operation": "DELETE", "object": None}, {"resource": {"group": "apps", "resource": "deployments"}}]
)
def test_a_review_that_creates_no_pod_has_no_pod(request_: dict[str, Any]) -> None:
    assert decode_review(changed(**request_)).pod is None


@given(
    st.binary()
    | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    for decode in (decode_review, decode_pod):
        with suppress(MalformedReviewError):
            decode(body)


def test_an_answer_carries_the_patch_and_a_refusal_says_429() -> None:
    answer = json.loads(encode_answer(uid="u", patch=[{"op": "add"}], try_again="later"))["response"]
    assert json.loads(b64decode(answer["patch"])) == [{"op": "add"}]
    assert (answer["uid"], answer["allowed"], answer["status"]["code"]) == ("u", False, 429)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"kind": "\xff"}', "the body is not UTF-8 (at byte 10)"),
        (b'{"kind": "Pod"}', "the body is not an AdmissionReview: its kind is missing or different"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}', "the AdmissionReview has no request"),
        (changed(object=None), "the review of a pod's creation has no object"),
        (changed(namespace=""), "the review of a pod's creation has no namespace"),
        (b"[]", "the body has a wrong type: Expected `object`, got `array`"),
    ],
)
def test_each_problem_of_a_review_has_this_message(body: bytes, sentence: str) -> None:
    with pytest.raises(MalformedReviewError) as caught:
        decode_review(body)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("spec", [5, {"containers": [{"name": 1}]}])
def test_a_pod_that_cannot_be_read_is_refused_with_the_place(spec: Any) -> None:
    with pytest.raises(MalformedReviewError, match=r"^the body has a wrong type: .*object\.spec"):
        decode_review(changed(object={"spec": spec}))


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"\xff", "the pod is not UTF-8 (at byte 0)"),
        (b"[]", "the pod has a wrong type: "),
        (
            b'{"spec": {"volumes": "x"}}',
            "the pod has a wrong type: Expected `array | null`, got `str` - at `$.spec.volumes`",
        ),
        (
            b'{"spec": {"containers": [{}, {"volumeMounts": [1]}]}}',
            "the pod has a wrong type: Expected `object`, got `int` - at `$.spec.containers[1].volumeMounts[0]`",
        ),
    ],
)
def test_each_problem_of_a_pod_has_this_message(document: bytes, sentence: str) -> None:
    with pytest.raises(MalformedReviewError) as caught:
        decode_pod(document)
    assert str(caught.value).startswith(sentence)


def test_the_fields_of_a_request_are_read() -> None:
    dry, usual = decode_review(changed(dryRun=True)), decode_review(changed())
    assert (dry.dry_run, usual.dry_run, usual.namespace) == (True, False, "kfp-team-b")
    assert decode_review(changed(operation="DELETE", object=None, namespace=None)).namespace == ""
