"""Replaces a Service: one address for all ready replicas.

A separate process forwards the connections: `python -m tests.cluster.balancer PORT`. A thread would wait for the other
threads of the test, and calls would meet connections that a replica has closed in the meantime.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Protocol

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
        self._forced = False
        self._telling, self._stopping = threading.Lock(), threading.Event()
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

    def send_to(self, backend: Backend) -> None:
        """Send all calls to one backend from now on, ready or not."""
        with self._telling:
            self._forced = True
            self._tell([backend.port])

    def knows(self, backend: Backend) -> bool:
        """Return whether a backend gets calls."""
        return backend.port in self._ports

    def _probe(self) -> None:
        while not self._stopping.wait(0.1):
            ports = [backend.port for backend in list(self._backends) if backend.ready()]
            with self._telling:
                if not self._forced and ports != self._ports:
                    self._tell(ports)

    def _tell(self, ports: list[int]) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{' '.join(map(str, ports))}\n")
        self._ports = self._answer()

    def _answer(self) -> list[int]:
        assert self._process.stdout
        return [int(port) for port in self._process.stdout.readline().split()]


async def forward(port: int) -> None:
    """Forward connections to the ports of the last line of stdin. Each line is printed when it is in use."""
    ports: list[int] = []
    turn = itertools.count()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", ports[next(turn) % len(ports)])
        except (OSError, ZeroDivisionError):  # nothing is ready
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))

    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    server = await asyncio.start_server(connect, "127.0.0.1", port)
    line = b"\n"
    while line:
        sys.stdout.write(line.decode())
        sys.stdout.flush()
        line = await commands.readline()
        ports[:] = map(int, line.split())
    server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


def main(arguments: Sequence[str]) -> None:
    """Forward until stdin is closed."""
    asyncio.run(forward(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
