"""A fake API server for commands that ask about one namespace. tests/cluster has the real one."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Cluster:
    """A fake API server: objects by path, Secrets by name."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.forbidden: set[str] = set()
        """Paths that the user may not read."""
        self.secrets: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.kubeconfig = folder / "kubeconfig"
        server = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        config = {
            "current-context": "a",
            "clusters": [{"name": "a", "cluster": server}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "team-a"}}],
            "users": [{"name": "a", "user": {}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def put(self, token: bytes, name: str = "mlflow-token") -> None:
        self.secrets[name] = {"metadata": {}, "data": {"token": b64encode(token).decode()}}


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = cluster.objects.get(path) or cluster.secrets.get(path.rpartition("/")[2])
            if path in cluster.forbidden:
                self._send(403, {"message": "forbidden"})
            else:
                self._send(200 if found else 404, found or {"message": "not found"})

        def do_PATCH(self) -> None:
            found, body = cluster.secrets.get(self.path.rpartition("/")[2]), self._body()
            if found:
                found["data"] |= body["data"]
                found["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
            self._send(200 if found else 404, found or {"message": "not found"})

        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/events"):
                cluster.events.append(body)
            elif not self.path.endswith("/pods?dryRun=All"):
                cluster.secrets[body["metadata"]["name"]] = body
            self._send(201, body)

        def _body(self) -> dict[str, Any]:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            return body

        def _send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base class
            pass

    return Handler
