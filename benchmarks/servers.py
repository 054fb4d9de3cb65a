"""The servers to compare the webhook with, each a process: the floor, answers from memory, the plain implementation."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks import plain
from certs.issue import issue_ca, issue_leaf
from tests.support.pods import KFP, TRAINJOB
from tests.support.pods import plain as made_again
from webhook.core.configuration import Namespace, Platform
from webhook.core.decision import decide
from webhook.core.names import LABEL
from webhook.core.patch import patch as patch_of
from webhook.core.review import decode_pod
from webhook.serving.server import create_server

OTHERS = ("floor", "recall", "plain")


async def floor(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and send a constant answer."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


_UID = re.compile(rb'"uid":"([^"]*)"')
_TOUCH = b'[{"op":"add","path":"/metadata/annotations/touched","value":"yes"}]'


async def recall(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer from memory. The remaining time is what the API server itself spends on a webhook.

    /touch adds one annotation. /same answers with the patch that the webhook makes for the benchmark's pod.
    """
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    uid = _UID.search(body)  # the review's own uid is the first one
    if uid is None:
        raise ValueError("no review")
    patch = _TOUCH if scope["path"] == "/touch" else _remembered(KFP if b"/v2_component" in body else TRAINJOB)
    response = {"uid": uid[1].decode(), "allowed": True, "patchType": "JSONPatch", "patch": b64encode(patch).decode()}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    answer = json.dumps(review).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@cache
def _remembered(sample: str) -> bytes:
    pod = decode_pod(json.dumps(made_again(sample)).encode())
    namespace = Namespace("recalled", {LABEL: "true"}, {})
    return json.dumps(patch_of(pod, decide(pod, namespace=namespace, platform=Platform()))).encode()


def main() -> None:
    """Serve one of these servers on a port, and write the CA to a file: KIND PORT FILE."""
    kind, port, ca_file = sys.argv[1:]
    now, lifetime = datetime.now(UTC), timedelta(days=1)
    ca = issue_ca(common_name="benchmark", lifetime=lifetime, now=now)
    leaf = issue_leaf(ca, dns_names=["x"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=now)
    Path(ca_file).write_bytes(ca.certificate_pem)
    apps: dict[str, Callable[[], ASGIApp]] = {
        "floor": lambda: floor,
        "recall": lambda: recall,
        "plain": plain.create_app,
    }
    app = apps[kind]()
    server = create_server(app, certificate=leaf, host="127.0.0.1", port=int(port), shutdown_delay=timedelta(0))
    server.run()


if __name__ == "__main__":
    main()
