"""Measures the server over TLS with keep-alive: CPU time per review, latencies, memory, time to the first answer."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jsonpatch

from benchmarks.measuring import (
    CAPTURED,
    MANY,
    SMALL,
    Spread,
    cpu_seconds,
    labelled_namespace,
    percentile,
    rss_mib,
    sent,
)
from benchmarks.servers import OTHERS

ROUNDS = 9
CONNECTIONS = (1, 16)
REQUESTS = {"floor": 3_200, "webhook": 3_200, "plain": 320}
"""Requests in a round, over all connections."""


class Server:
    """One of the servers, and raw connections to it. `program` replaces the webhook, with the same arguments."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        program: Sequence[str] = (sys.executable, "-m", "webhook.cli"),
        arguments: Sequence[str] = (),
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._ca = folder / f"{kind}.pem"
        port, ca = str(self.port), str(self._ca)
        command = [*program, "serve", "--standalone", "--port", port, "--ca-file", ca]
        command += ["--namespace", "kfp-team-b", "--namespace", "trainer-b", *arguments]
        if kind in OTHERS:
            command = [sys.executable, "-m", "benchmarks.servers", kind, port, ca]
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own servers
        try:
            self._wait()
            with self.connect() as connection:
                ask(connection, request(sent(SMALL)))
        except BaseException:
            self.stop()
            raise
        self.seconds_to_first_answer = time.perf_counter() - started

    def _wait(self) -> None:
        for _ in range(3_000):
            with socket.socket() as probe:
                if self._ca.exists() and probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.005)
        raise TimeoutError("the server does not start")

    def connect(self) -> ssl.SSLSocket:
        """Open a connection."""
        context = ssl.create_default_context(cafile=str(self._ca))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def stop(self) -> None:
        """Stop the server."""
        self.process.kill()
        self.process.wait()


def request(body: bytes) -> bytes:
    """Return a complete HTTP request."""
    head = "POST /mutate?timeout=5s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def ask(connection: ssl.SSLSocket, content: bytes) -> bytes:
    """Send a request and return the answer's body."""
    connection.sendall(content)
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ValueError(head[:200].decode())
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(rest) < length:
        rest += connection.recv(65536)
    return rest


@contextmanager
def servers() -> Iterator[dict[str, Server]]:
    """Run all measurements of this module."""
    with tempfile.TemporaryDirectory() as folder:
        running: dict[str, Server] = {}
        try:
            for kind in ("floor", "webhook", "plain"):
                running[kind] = Server(kind, Path(folder))
            yield running
        finally:
            for server in running.values():
                server.stop()


def measure() -> dict[str, Any]:
    """Measure all servers in turn, in rounds."""
    bodies = {"small": sent(SMALL), "captured": sent(CAPTURED)}
    found: dict[str, Any] = {"bytes": {name: len(body) for name, body in bodies.items()}}
    with servers() as running:
        for body in bodies.values():
            _check_same_work(running, body)
        found["load"] = {
            name: {str(connections): _compare(running, body, connections) for connections in CONNECTIONS}
            for name, body in bodies.items()
        }
        found["rss_mib"] = {kind: rss_mib(server.process.pid) for kind, server in running.items()}
    starts = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            server = Server("webhook", Path(folder))
            starts.append(server.seconds_to_first_answer)
            server.stop()
    found["seconds_to_first_answer"] = Spread.of(starts)
    found["namespaces"] = _by_namespaces(bodies["small"])
    return found


def _check_same_work(running: dict[str, Server], body: bytes) -> None:
    """Raise RuntimeError unless the plain implementation and the webhook change the pod in the same way."""
    pod = json.loads(body)["request"]["object"]
    made = []
    for kind in ("plain", "webhook"):
        with running[kind].connect() as connection:
            response = json.loads(ask(connection, request(body)))["response"]
        made.append(jsonpatch.apply_patch(pod, b64decode(response.get("patch", b64encode(b"[]")))))
    if made[0] != made[1] or pod in made:
        raise RuntimeError("the compared servers do not make the same change")


def _by_namespaces(body: bytes) -> dict[str, Any]:
    """Return the CPU time of a review, in microseconds, for a server with two namespaces and one with many more."""
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        names = Path(many, "namespaces.json")
        names.write_text(json.dumps({"kind": "List", "items": [labelled_namespace(number) for number in range(MANY)]}))
        running: dict[str, Server] = {}
        try:
            running["0"] = Server("webhook", Path(few))
            running[str(MANY)] = Server("webhook", Path(many), arguments=["--namespaces", str(names)])
            rounds = [{name: _round(server, body, 1, 3_200) for name, server in running.items()} for _ in range(ROUNDS)]
        finally:
            for server in running.values():
                server.stop()
    return {name: Spread.of([one[name]["cpu_microseconds"] for one in rounds]) for name in running}


def _compare(running: dict[str, Server], body: bytes, connections: int) -> dict[str, Any]:
    rounds = [
        {kind: _round(server, body, connections, REQUESTS[kind]) for kind, server in running.items()}
        for _ in range(ROUNDS)
    ]
    found: dict[str, Any] = {
        kind: {figure: Spread.of([one[kind][figure] for one in rounds]) for figure in rounds[0][kind]}
        for kind in running
    }
    for one, other in (("webhook", "floor"), ("plain", "webhook")):
        cpu = [(each[one]["cpu_microseconds"], each[other]["cpu_microseconds"]) for each in rounds]
        found[f"{one}/{other}"] = Spread.of([a / b for a, b in cpu])
    return found


def _round(server: Server, body: bytes, connections: int, requests: int) -> dict[str, float]:
    content, times = request(body), []
    lock = threading.Lock()

    def run(connection: ssl.SSLSocket) -> None:
        mine = []
        for _ in range(requests // connections):
            started = time.perf_counter()
            ask(connection, content)
            mine.append((time.perf_counter() - started) * 1e3)
        with lock:
            times.extend(mine)

    with ExitStack() as stack:
        opened = [stack.enter_context(server.connect()) for _ in range(connections)]
        threads = [threading.Thread(target=run, args=(connection,)) for connection in opened]
        cpu, started = cpu_seconds(server.process.pid), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    cpu, seconds = cpu_seconds(server.process.pid) - cpu, time.perf_counter() - started
    return {
        "cpu_microseconds": cpu / len(times) * 1e6,
        "p50_ms": percentile(times, 0.5),
        "p99_ms": percentile(times, 0.99),
        "per_second": len(times) / seconds,
    }


def soak(reviews: int) -> dict[str, Any]:
    """Send many reviews, and measure the memory from time to time."""
    content = request(sent(SMALL))
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Server("webhook", Path(folder))
        try:
            with server.connect() as connection:
                for done in range(reviews + 1):
                    if done % (reviews // 10) == 0:
                        memory[str(done)] = rss_mib(server.process.pid)
                    ask(connection, content)
        finally:
            server.stop()
    return {"reviews": reviews, "rss_mib": memory}
