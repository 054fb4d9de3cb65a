"""Another mutating webhook, which adds two variables to every container that does not have them."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from certs.issue import issue_ca, issue_leaf
from tests.cluster.controlplane import encoded
from webhook.cluster.kube import KubeClient, group_path
from webhook.serving.server import load_certificate

_ADDED = ({"name": "THEIRS", "value": "1"}, {"name": "MLFLOW_EXPERIMENT_NAME", "value": "theirs"})


def _patch(pod: dict[str, Any]) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = []
    for index, container in enumerate(pod["spec"]["containers"]):
        present = {entry["name"] for entry in container.get("env", [])}
        missing = [entry for entry in _ADDED if entry["name"] not in present]
        path = f"/spec/containers/{index}/env"
        if missing and "env" not in container:
            operations.append({"op": "add", "path": path, "value": missing})
        else:
            operations += [{"op": "add", "path": f"{path}/-", "value": entry} for entry in missing]
    return operations


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        patch = encoded(json.dumps(_patch(request["object"])).encode())
        response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        body = json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base class
        pass


class OtherWebhook:
    """Its server, on a free port."""

    def __init__(self) -> None:
        now, lifetime = datetime.now(UTC), timedelta(days=1)
        self._ca = issue_ca(common_name="theirs", lifetime=lifetime, now=now)
        leaf = issue_leaf(self._ca, dns_names=["x"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=now)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_certificate(context, leaf)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @contextmanager
    def registered(self, admin: KubeClient, name: str, namespace: str) -> Iterator[None]:
        """Register it for one namespace's pods. The name decides which webhook is called first."""
        path = group_path("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
        entry = {
            "name": "theirs.example.org",
            "clientConfig": {
                "url": f"https://127.0.0.1:{self._server.server_port}/",
                "caBundle": encoded(self._ca.certificate_pem),
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        admin.create(path, {"metadata": {"name": name}, "webhooks": [entry]})
        try:
            _wait_for_the_api_server(admin, namespace)
            yield
        finally:
            admin.delete(f"{path}/{name}")


def _wait_for_the_api_server(admin: KubeClient, namespace: str) -> None:
    """Create pods as dry runs until the API server calls this webhook."""
    probe = {
        "metadata": {"name": "probe", "labels": {"mlflow-enabled": "false"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    for _ in range(200):
        created = admin.create(f"/api/v1/namespaces/{namespace}/pods", probe, params={"dryRun": "All"})
        if created["spec"]["containers"][0].get("env"):
            return
    raise AssertionError("the other webhook is never called")
