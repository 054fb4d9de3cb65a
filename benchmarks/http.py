"""The server over TLS with keep-alive: CPU time per review, latencies, memory, time to the first answer."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import CAPTURED, SMALL, Spread, cpu_seconds, percentile, rss_mib, sent
from benchmarks.servers import OTHERS

ROUNDS = 9
REQUESTS = {"floor": 4_000, "webhook": 4_000, "plain": 300}
LATENCIES = 1_600
"""Requests of a round, over all connections."""


class Server:
    """One of the servers, and raw connections to it. `program` runs in place of ours, with the same arguments."""

    def __init__(self, kind: str, folder: Path, program: Sequence[str] = (sys.executable, "-m", "webhook.cli")) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._ca = folder / f"{kind}.pem"
        port, ca = str(self.port), str(self._ca)
        command = [*program, "serve", "--standalone", "--port", port, "--ca-file", ca]
        command += ["--namespace", "kfp-team-b", "--namespace", "trainer-a"]
        if kind in OTHERS:
            command = [sys.executable, "-m", "benchmarks.servers", kind, port, ca]
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - our own servers
        self._wait()
        with self.connect() as connection:
            ask(connection, request(sent(SMALL)))
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
        """End it."""
        self.process.kill()
        self.process.wait()


def request(body: bytes) -> bytes:
    """Give a whole HTTP request."""
    head = "POST /mutate?timeout=5s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def ask(connection: ssl.SSLSocket, content: bytes) -> int:
    """Send a request and read the answer whole; gives its length."""
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
    return length


@contextmanager
def servers() -> Iterator[dict[str, Server]]:
    """Run all of them."""
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
    """Measure all servers in turn, round by round."""
    bodies = {"small": sent(SMALL), "captured": sent(CAPTURED)}
    found: dict[str, Any] = {"bytes": {name: len(body) for name, body in bodies.items()}}
    with servers() as running:
        found["cpu_microseconds"] = {name: _cpu(running, body) for name, body in bodies.items()}
        found["latency_milliseconds"] = {
            str(number): _latencies(running, bodies["small"], number) for number in (1, 16)
        }
        found["rss_mib"] = {kind: rss_mib(server.process.pid) for kind, server in running.items()}
    starts = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            server = Server("webhook", Path(folder))
            starts.append(server.seconds_to_first_answer)
            server.stop()
    found["seconds_to_first_answer"] = Spread.of(starts)
    return found


def _cpu(running: dict[str, Server], body: bytes) -> dict[str, Any]:
    content = request(body)
    found: dict[str, list[float]] = {kind: [] for kind in running}
    for _ in range(ROUNDS):
        for kind, server in running.items():
            with server.connect() as connection:
                before = cpu_seconds(server.process.pid)
                for _ in range(REQUESTS[kind]):
                    ask(connection, content)
                found[kind].append((cpu_seconds(server.process.pid) - before) / REQUESTS[kind] * 1e6)
    ratios = {
        "webhook/floor": Spread.of([a / b for a, b in zip(found["webhook"], found["floor"], strict=True)]),
        "plain/webhook": Spread.of([a / b for a, b in zip(found["plain"], found["webhook"], strict=True)]),
    }
    return {**{kind: Spread.of(values) for kind, values in found.items()}, **ratios}


def _latencies(running: dict[str, Server], body: bytes, connections: int) -> dict[str, Any]:
    rounds = [{kind: _latency(server, body, connections) for kind, server in running.items()} for _ in range(ROUNDS)]
    return {
        kind: {figure: Spread.of([found[kind][figure] for found in rounds]) for figure in rounds[0][kind]}
        for kind in running
    }


def _latency(server: Server, body: bytes, connections: int) -> dict[str, float]:
    content, times = request(body), []
    lock = threading.Lock()

    def run() -> None:
        mine = []
        with server.connect() as connection:
            for _ in range(LATENCIES // connections):
                started = time.perf_counter()
                ask(connection, content)
                mine.append((time.perf_counter() - started) * 1e3)
        with lock:
            times.extend(mine)

    threads = [threading.Thread(target=run) for _ in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99), "per_second": len(times) / seconds}


def soak(reviews: int) -> dict[str, Any]:
    """Send many reviews, and look at the memory now and then."""
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
