"""The server as a process: `serve --standalone` on a free port of the loopback address."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import httpx

from demo.processes import free_port
from tests.support.pods import FOLDER, KFP
from tests.support.waiting import DEADLINE, wait_until

BODY = (FOLDER / KFP).read_bytes()
JSON = {"content-type": "application/json"}
NAMESPACES = """
kind: List
items:
- kind: Namespace
  metadata:
    name: kfp-team-b
    labels: {mlflow-enabled: "true"}
    annotations: {mlflow.kubeflow.org/experiment: of-the-file}
- kind: Namespace
  metadata: {name: other}
"""


class Serving:
    def __init__(self, process: subprocess.Popen[str], port: int, ca: Path, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.context = ssl.create_default_context(cafile=str(ca))
        self.url = f"https://127.0.0.1:{port}"

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with httpx.Client(verify=self.context, timeout=DEADLINE, trust_env=False) as client:
            return client.request(method, self.url + path, **arguments)

    def review(self, body: bytes = BODY) -> httpx.Response:
        return self.request("POST", "/mutate", content=body, headers=JSON)

    def connect(self, name: str = "127.0.0.1") -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        return self.context.wrap_socket(raw, server_hostname=name)


@contextmanager
def started(folder: Path, *, stderr: TextIO, before: str = "pass") -> Iterator[Serving]:
    """Start `serve --standalone`, with its log in `stderr`, after some Python code; stop it at the end."""
    ca, log = folder / "ca.pem", folder / "log"
    port = free_port()
    code = f"{before}; from webhook.cli import main; main()"
    command = ["-c", code, "serve", "--standalone", "--port", str(port), "--ca-file", str(ca)]
    namespaces = folder / "namespaces.yaml"
    namespaces.write_text(NAMESPACES)
    environment = {
        **os.environ,
        "MLFLOW_WEBHOOK_CERTIFICATE_NAMES": "webhook.example",
        "MLFLOW_WEBHOOK_SHUTDOWN_DELAY": "10m",  # until a second SIGTERM
    }
    process = subprocess.Popen(
        [sys.executable, *command, "--namespaces", str(namespaces)], stderr=stderr, text=True, env=environment
    )

    def listens() -> bool:
        assert process.poll() is None, log.read_text() if log.exists() else "it has no log"
        with socket.socket() as probe:
            return ca.exists() and probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(listens, "the server")
        yield Serving(process, port, ca, log)
    finally:
        process.kill()
        process.wait()
