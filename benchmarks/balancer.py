"""Replaces a Service with a separate process: ``python -m benchmarks.balancer PORT REPLICA_PORT…``.

A Service adds no waiting time. In the measuring process, this balancer would wait for that process's threads.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from typing import cast

import uvloop


class _Pipe(asyncio.Protocol):
    """One end of a connection. It sends the bytes that it receives to the other end."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Pipe | None = None
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass
        self.transport.writelines(self._waiting)

    def data_received(self, data: bytes) -> None:
        if self.other:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        if self.transport:
            self.transport.write(data)
        else:
            self._waiting.append(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()


class _Accepted(_Pipe):
    def __init__(self, ports: Iterator[int]) -> None:
        super().__init__()
        self._port = next(ports)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other = _Pipe()
        self.other.other = self
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(loop.create_connection(lambda: self.other, "127.0.0.1", self._port))
        connecting.add_done_callback(lambda task: transport.abort() if task.exception() else None)


async def main(port: int, replicas: list[int]) -> None:
    """Serve until killed."""
    turns = itertools.cycle(replicas)
    server = await asyncio.get_running_loop().create_server(lambda: _Accepted(turns), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
