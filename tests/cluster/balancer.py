"""Replaces a Service: one address for all ready replicas.

A separate process forwards the connections: `python -m tests.cluster.balancer PORT`. A thread would wait for the other
threads of the test, and calls would meet connections that a replica has closed in the meantime.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import uvloop

from demo.processes import free_port


class Backend(Protocol):
    """A server that calls are sent to."""

    port: int

    def ready(self) -> bool:
        """Return whether it takes calls now."""


class Balancer:
    """Sends each new connection to the next of those backends that are ready."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        """`backends` may change later."""
        self.port = free_port()
        self._backends = backends
        self._ports: list[int] = []
        self._stopping = threading.Event()
        command = [sys.executable, "-m", "tests.cluster.balancer", str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self._process.stdout
        assert self._process.stdout.readline(), "the balancer did not start"
        self._probing = threading.Thread(target=self._probe)
        self._probing.start()

    def stop(self) -> None:
        """Close it."""
        self._stopping.set()
        self._probing.join()
        self._process.communicate()

    def knows(self, backend: Backend) -> bool:
        """Return whether a backend gets calls."""
        return backend.port in self._ports

    def _probe(self) -> None:
        while not self._stopping.wait(0.1):
            ports = [backend.port for backend in list(self._backends) if backend.ready()]
            if ports != self._ports:
                self._tell(ports)

    def _tell(self, ports: list[int]) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{' '.join(map(str, ports))}\n")
        self._ports = self._answer()

    def _answer(self) -> list[int]:
        assert self._process.stdout
        return [int(port) for port in self._process.stdout.readline().split()]


class _Connection(asyncio.Protocol):
    """One end of a forwarded connection. It sends the bytes that it receives to the other end."""

    def __init__(self, other: _Connection | None = None) -> None:
        self.other = other
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass
        self._transport.writelines(self._waiting)
        if self.other and self.other.closed:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)
        else:
            self._waiting.append(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        if self.other:
            self.other.close()

    def close(self) -> None:
        if self._transport:
            self._transport.close()


class _Accepted(_Connection):
    """A client's connection, which is forwarded to the next port."""

    def __init__(self, ports: Sequence[int], turn: Iterator[int]) -> None:
        super().__init__()
        self._port = ports[next(turn) % len(ports)] if ports else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._port is None:
            cast("asyncio.Transport", transport).abort()
            return
        self.other = upstream = _Connection(self)
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(loop.create_connection(lambda: upstream, "127.0.0.1", self._port))
        connecting.add_done_callback(lambda task: self.close() if task.exception() else None)


async def forward(port: int) -> None:
    """Forward connections to the ports of the last line of stdin. Each line is printed once it is in force."""
    ports: list[int] = []
    turn = itertools.count()
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    server = await loop.create_server(lambda: _Accepted(ports, turn), "127.0.0.1", port)
    line = b"\n"
    while line:
        sys.stdout.write(line.decode())
        sys.stdout.flush()
        line = await commands.readline()
        ports[:] = map(int, line.split())
    server.close()


def main(arguments: Sequence[str]) -> None:
    """Forward until stdin is closed."""
    uvloop.run(forward(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
