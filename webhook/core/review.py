"""Reads the bytes of an AdmissionReview, and writes the bytes of its answer.

Only the fields that the decision needs are decoded. The decoder skips the rest: nine tenths of a KFP pod are templates
in environment variables. The pod is never written back; the answer is a patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from webhook.core.pod import Pod, PodParts, Wire

API_VERSION: Final = "admission.k8s.io/v1"

T = TypeVar("T")


class MalformedReviewError(Exception):
    """The bytes are not a valid AdmissionReview v1 or pod. The message never quotes the input."""


class GroupVersionResource(Wire, frozen=True):
    """``request.resource``."""

    group: str = ""
    version: str = ""
    resource: str = ""


class _Request(Wire, frozen=True):
    uid: str
    operation: str
    resource: GroupVersionResource = GroupVersionResource()
    sub_resource: str | None = None
    namespace: str | None = None
    dry_run: bool | None = None

    @property
    def creates_pod(self) -> bool:
        resource = self.resource
        return (
            self.operation == "CREATE" and resource.resource == "pods" and not resource.group and not self.sub_resource
        )


class _PodRequest(_Request, frozen=True):
    object: Pod | None = None


class _Review(Wire, frozen=True):
    api_version: str | None = None
    kind: str | None = None
    request: _Request | None = None


class _PodReview(_Review, frozen=True):
    request: _PodRequest | None = None


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded review. ``pod`` is None unless the request creates a pod."""

    uid: str
    namespace: str
    dry_run: bool
    pod: Pod | None


_pod_review_decoder = msgspec.json.Decoder(_PodReview)
_review_decoder = msgspec.json.Decoder(_Review)
_pod_decoder = msgspec.json.Decoder(Pod)
_parts_decoder = msgspec.json.Decoder(PodParts)
_encoder = msgspec.json.Encoder()


def decode_review(body: bytes) -> Review:
    """Read an AdmissionReview v1.

    Raises MalformedReviewError with a sentence that says what is wrong and where.
    """
    _check_utf8(body, what="the body")
    try:
        request = _request(_decode(_pod_review_decoder, body, what="the body"))
    except MalformedReviewError:
        request = _request(_decode(_review_decoder, body, what="the body"))
        if request.creates_pod:
            raise
        # other objects are not decoded as pods
    pod = None
    if request.creates_pod:
        pod = request.object if isinstance(request, _PodRequest) else None
        if pod is None:
            raise MalformedReviewError("the review of a pod's creation has no object")
        if not request.namespace:
            raise MalformedReviewError("the review of a pod's creation has no namespace")
    return Review(uid=request.uid, namespace=request.namespace or "", dry_run=bool(request.dry_run), pod=pod)


def _request(review: _Review) -> _Request:
    if review.kind != "AdmissionReview":
        raise MalformedReviewError("the body is not an AdmissionReview: its kind is missing or different")
    if review.api_version != API_VERSION:
        raise MalformedReviewError(f"the AdmissionReview has an unsupported apiVersion; supported is {API_VERSION}")
    if review.request is None:
        raise MalformedReviewError("the AdmissionReview has no request")
    return review.request


def decode_pod(document: bytes) -> Pod:
    """Read a pod, or anything that has a pod's metadata and spec, such as a pod template.

    Raises MalformedReviewError with a sentence that says what is wrong and where.
    """
    _check_utf8(document, what="the pod")
    pod = _decode(_pod_decoder, document, what="the pod")
    # The API server has checked the types in a review's pod, but nobody has checked those in a document.
    _decode(_parts_decoder, document, what="the pod")
    return pod


def encode_answer(
    *,
    uid: str,
    patch: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[str] = (),
    audit_annotations: Mapping[str, str] | None = None,
    try_again: str | None = None,
) -> bytes:
    """Write the AdmissionReview with the answer.

    ``try_again`` refuses the pod with this message and status code 429. Argo and the Job controller treat that code as
    temporary and retry (observed with Argo 4.0.5). Nothing else refuses a pod.
    """
    response: dict[str, Any] = {"uid": uid, "allowed": try_again is None}
    if try_again is not None:
        response["status"] = {"code": 429, "reason": "TooManyRequests", "message": try_again}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = _encoder.encode(patch)  # the encoder writes bytes as base64, as the API requires
    if warnings:
        response["warnings"] = warnings
    if audit_annotations:
        response["auditAnnotations"] = audit_annotations
    return _encoder.encode({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _check_utf8(body: bytes, *, what: str) -> None:
    # the decoder does not look into the strings it skips
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise MalformedReviewError(f"{what} is not UTF-8 (at byte {error.start})") from None


def _decode(decoder: msgspec.json.Decoder[T], data: bytes, *, what: str) -> T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        # the decoder names the place and the types, never the value
        raise MalformedReviewError(f"{what} has a wrong type: {error}") from None
    except msgspec.DecodeError as error:
        raise MalformedReviewError(f"{what} is not JSON: {error}") from None
    except RecursionError:
        raise MalformedReviewError(f"{what} is nested too deeply") from None
