"""The servers that ours is compared with, each a process: two floors, and the plain way to write the webhook."""

from __future__ import annotations

import base64
import copy
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonpatch
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from certs.issue import issue_ca, issue_leaf
from webhook.server import create_server

OTHERS = ("floor", "touch", "plain")


async def floor(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer a constant."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


_UID = re.compile(rb'"uid":"([^"]*)"')
_TOUCH = base64.b64encode(b'[{"op":"add","path":"/metadata/annotations/touched","value":"yes"}]').decode()


async def touch(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every review with one annotation: what the API server itself spends on any webhook that patches."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    found = _UID.search(body)  # the review's own uid comes first
    response = {"uid": found[1].decode() if found else "", "allowed": True, "patchType": "JSONPatch", "patch": _TOUCH}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    answer = json.dumps(review).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class _Request(BaseModel):
    uid: str
    namespace: str
    object: dict[str, Any]


class _Review(BaseModel):
    apiVersion: str  # noqa: N815 - the API's own name
    kind: str
    request: _Request


def plain() -> FastAPI:
    """Write the webhook as one would at first: a body model, a copy of the pod, a diff of the two."""
    app = FastAPI()

    @app.post("/mutate")
    def mutate(review: _Review) -> dict[str, Any]:
        pod = review.request.object
        wired = copy.deepcopy(pod)
        for container in wired["spec"]["containers"]:
            if container["name"] in {"main", "node"}:
                container["env"] = [
                    {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow-tracking-server.kubeflow:5000"},
                    {"name": "MLFLOW_WORKSPACE", "value": review.request.namespace},
                    {
                        "name": "MLFLOW_TRACKING_TOKEN",
                        "valueFrom": {"secretKeyRef": {"name": "mlflow-token", "key": "token"}},
                    },
                    *container.get("env", []),
                ]
        operations = jsonpatch.make_patch(pod, wired).to_string()
        return {
            "apiVersion": review.apiVersion,
            "kind": review.kind,
            "response": {
                "uid": review.request.uid,
                "allowed": True,
                "patchType": "JSONPatch",
                "patch": base64.b64encode(operations.encode()).decode(),
            },
        }

    return app


def main() -> None:
    """Serve one of them on a port, and write the CA to a file: KIND PORT FILE."""
    kind, port, ca_file = sys.argv[1:]
    now, lifetime = datetime.now(UTC), timedelta(days=1)
    ca = issue_ca(common_name="benchmark", lifetime=lifetime, now=now)
    leaf = issue_leaf(ca, dns_names=["x"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=now)
    Path(ca_file).write_bytes(ca.certificate_pem)
    apps: dict[str, Callable[[], ASGIApp]] = {"floor": lambda: floor, "touch": lambda: touch, "plain": plain}
    app = apps[kind]()
    server = create_server(app, certificate=leaf, host="127.0.0.1", port=int(port), shutdown_delay=timedelta(0))
    server.run()


if __name__ == "__main__":
    main()
