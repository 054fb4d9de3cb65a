"""POST /mutate: reads a review, decides, and answers. It is a plain ASGI callable, because it must be fast.

A problem with a request is a BadRequestError with an HTTP status and a sentence. Any other exception is a bug: the
answer is HTTP 500, so that the failurePolicy decides what happens to the pod.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import monotonic, perf_counter
from typing import Any

from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import NOT_A_POD_CREATION, Decision, decide
from webhook.core.lookup import LookupFailedError, LookupOutcome, Namespaces
from webhook.core.patch import patch
from webhook.core.pod import Pod
from webhook.core.reasons import Reason
from webhook.core.review import MalformedReviewError, Review, decode_review, encode_answer
from webhook.errors import error_location
from webhook.serving.metrics import Metrics

HELD_LIMIT = 64 << 20
"""The most bytes of bodies that are incomplete or wait for a lookup, for all connections together."""
CONFIRMED_FOR = 5.0
"""Seconds for which a live read confirms that a namespace is not labelled, unless the watch reports a change."""
_CONFIRMED_LIMIT = 1000
PATH = "/mutate"
_UNDECIDED = frozenset({Reason.NAMESPACE_LOOKUP_FAILED, Reason.NOT_ENABLED})
_log = logging.getLogger(__name__)


class BadRequestError(Exception):
    """A request that is refused, with an HTTP status and a sentence for the caller."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Mutate:
    """The endpoint. `answer` can be called alone, with the bytes of a review."""

    def __init__(
        self,
        *,
        platform: Platform,
        namespaces: Namespaces,
        metrics: Metrics,
        write: Callable[[Mapping[str, Any]], None],
        body_limit: int = 7 << 20,
        draining: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = monotonic,
        accepts: Callable[[Scope], bool] = lambda _: True,
    ) -> None:
        self._platform = platform
        self._namespaces = namespaces
        self._metrics = metrics
        self._write = write
        self._body_limit = body_limit
        self._draining = draining
        self._clock = clock
        self._accepts = accepts
        self._held = 0
        self._confirmed: dict[str, tuple[Namespace, float]] = {}
        """For each name: a namespace that is not labelled, and the time until which its live read counts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        try:
            self._check_head(scope)
            body = await self._body(receive)
            answer, line = await self._review(body)
        except BadRequestError as error:
            self._metrics.bad_requests.labels(str(error.status)).inc()
            _log.warning("bad request", extra={"status": error.status, "problem": error.message})
            await self._respond(send, error.status, error.message.encode() + b"\n", close=True)
        except _ClientGoneError:
            self._metrics.bad_requests.labels("disconnected").inc()
        except Exception as error:  # noqa: BLE001 - the last resort: the caller must get an answer without a traceback
            self._metrics.internal_errors.inc()
            _log.error("internal error", extra={"error": error_location(error)})
            await self._respond(send, 500, b"internal error of the MLflow webhook; its log says where\n")
        else:
            # The answer comes first: a log that cannot be written must not cost a pod.
            await self._respond(send, 200, answer, content_type=b"application/json", close=self._draining())
            self._log_decision(line)

    async def answer(self, body: bytes) -> bytes:
        """Answer a review, and log the decision. Raises BadRequestError for what is not a review."""
        answer, line = await self._review(body)
        self._log_decision(line)
        return answer

    def _log_decision(self, line: Mapping[str, Any]) -> None:
        try:
            self._write(line)
        except (OSError, ValueError):  # a full disk or a closed pipe (OSError), a closed stream (ValueError)
            self._metrics.log_lines_lost.inc()

    async def _review(self, body: bytes) -> tuple[bytes, dict[str, Any]]:
        started = perf_counter()
        try:
            review = decode_review(body)
        except MalformedReviewError as error:
            raise BadRequestError(400, str(error)) from error
        decision, operations = NOT_A_POD_CREATION, []
        if review.pod is not None:
            decision = await self._decide(review.pod, review.namespace, size=len(body))
            operations = [] if decision.try_again else patch(review.pod, decision)
        summary = decision.summary
        answer = encode_answer(
            uid=review.uid,
            patch=operations,
            warnings=decision.warnings,
            audit_annotations=summary,
            try_again=_try_again(review.namespace) if decision.try_again else None,
        )
        seconds = perf_counter() - started
        self._metrics.count(decision, seconds=seconds)
        return answer, _line(review, decision, summary, seconds)

    async def _decide(self, pod: Pod, name: str, *, size: int) -> Decision:
        """Decide with the namespace as it is known, or read it if that may be out of date.

        It is read:
        - if the namespace is not known,
        - if an unlabelled pod came although the namespace is not labelled: the API server sends such pods only from
          labelled namespaces,
        - if the watch has been silent too long,
        - once in CONFIRMED_FOR, if a pod asks by its own label in a namespace that is not labelled: if the namespace
          was labelled a moment ago, the pod's runs would otherwise go to the default workspace.
        """
        known = self._namespaces.known(name)
        decision = decide(pod, namespace=known, platform=self._platform)
        if decision.reason not in _UNDECIDED:
            depends = decision.configuration is not None
            if not depends or known is None or self._is_reliable(known):
                return decision
        try:
            namespace = await self._read(name, size=size)
        except LookupFailedError as error:
            self._metrics.namespace_lookups.labels(error.outcome).inc()
            # Forged reviews can cause the other outcomes, and then nothing needs repair.
            level = logging.WARNING if error.outcome is LookupOutcome.FAILED else logging.INFO
            _log.log(level, "namespace lookup failed", extra={"namespace": name, "problem": str(error)})
            return self._decide_without(pod, known, decision)
        self._metrics.namespace_lookups.labels(LookupOutcome.READ).inc()
        self._confirm(namespace)
        return decide(pod, namespace=namespace, platform=self._platform)

    def _is_reliable(self, known: Namespace) -> bool:
        if not self._namespaces.fresh():
            return False
        confirmed, until = self._confirmed.get(known.name, (None, 0.0))
        return known.enabled or (confirmed is known and self._clock() < until)

    def _confirm(self, namespace: Namespace) -> None:
        # After each change, the watch has a new object.
        known = self._namespaces.known(namespace.name)
        if known is None or known.enabled or namespace.enabled:
            return
        if len(self._confirmed) >= _CONFIRMED_LIMIT:
            self._confirmed.clear()
        self._confirmed[namespace.name] = (known, self._clock() + CONFIRMED_FOR)

    def _decide_without(self, pod: Pod, known: Namespace | None, decision: Decision) -> Decision:
        """Decide for a pod whose namespace cannot be read.

        What is known of a labelled namespace is used. What is known of one that is not labelled is used only while the
        watch is alive: otherwise it may have been labelled in the meantime, the runs of a pod that asks by its own
        label would go to the default workspace, and they cannot be moved. Such a pod is refused with status 429.
        """
        if known is None or decision.reason in _UNDECIDED or not (known.enabled or self._namespaces.fresh()):
            return decide(pod, namespace=None, platform=self._platform)
        if not decision.explicit:
            return decision
        effect = "its labels and annotations may be out of date" if known.enabled else "it is treated as not labelled"
        warning = f"namespace {known.name} could not be read from the API server; {effect}"
        return replace(decision, warnings=(*decision.warnings, warning))

    async def _read(self, name: str, *, size: int) -> Namespace:
        """Read a namespace, while that many bytes of a review wait."""
        try:
            self._hold(size)
            return await self._namespaces.read(name)
        finally:
            self._held -= size

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > HELD_LIMIT:
            raise BadRequestError(503, "too many bodies are waiting at once; retry")

    def _check_head(self, scope: Scope) -> None:
        if not self._accepts(scope):
            raise BadRequestError(403, "a client certificate is required, or this one is not accepted (clientNames)")
        if scope["method"] != "POST":
            raise BadRequestError(405, f"{PATH} accepts only POST requests with an AdmissionReview")
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"")
        if content_type.partition(b";")[0].strip().lower() != b"application/json":
            raise BadRequestError(415, "the content type must be application/json")
        length = headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > self._body_limit:
            raise self._too_large()

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = held = 0
        more = True
        try:
            while more:  # the server limits for how long (webhook.serving.protocol)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _ClientGoneError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > self._body_limit:
                    raise self._too_large()
                chunks.append(chunk)
                more = message.get("more_body", False)
                if more:
                    held += len(chunk)
                    self._hold(len(chunk))
        finally:
            self._held -= held
        body = b"".join(chunks)
        if not body:
            raise BadRequestError(400, "the body is empty: an AdmissionReview is expected")
        return body

    def _too_large(self) -> BadRequestError:
        return BadRequestError(413, f"the body is larger than {self._body_limit} bytes")

    async def _respond(
        self,
        send: Send,
        status: int,
        body: bytes,
        *,
        content_type: bytes = b"text/plain; charset=utf-8",
        close: bool = False,
    ) -> None:
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        if status == 405:
            headers.append((b"allow", b"POST"))
        if close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _ClientGoneError(Exception):
    """The connection was closed before the body was complete, so nobody waits for an answer."""


def _try_again(namespace: str) -> str:
    return (
        f"the pod asks to be wired to MLflow (label mlflow-enabled=true), but its namespace {namespace} cannot be "
        "read now; retry. If this persists, see the log of the deployment mlflow-webhook"
    )


def _line(review: Review, decision: Decision, summary: Mapping[str, str], seconds: float) -> dict[str, Any]:
    return {
        "uid": review.uid,
        "namespace": review.namespace,
        "pod": review.pod.name if review.pod else "",
        **summary,
        "explicit": decision.explicit,
        "refused": decision.try_again,
        "variables": sum([len(container.variables) for container in decision.containers]),
        "warnings": len(decision.warnings),
        "dryRun": review.dry_run,
        "seconds": round(seconds, 6),
    }
