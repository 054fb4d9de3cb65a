"""A server whose wait for a request ends when a test says so, and not after its time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from webhook.serving import protocol, server

TURN = signal.SIGUSR1
"""Ends the waits, once the server has received what the file says."""
NEVER = 3600.0


class _Clock:
    def __init__(self, expected: Path) -> None:
        self._expected = expected
        self._waits: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        self.connections = self.received = 0

    def remember(self, wait: asyncio.TimerHandle, callback: Callable[[], None]) -> None:
        self._waits[wait] = callback

    def turn(self) -> None:
        connections, received = map(int, self._expected.read_text().split())
        if self.connections < connections or self.received < received:
            asyncio.get_running_loop().call_later(0.01, self.turn)
            return
        for wait, callback in self._waits.items():
            if not wait.cancelled():
                wait.cancel()
                callback()
        self._waits = {}


class _Loop:
    """An event loop whose calls after NEVER seconds happen when the clock is turned."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: _Clock) -> None:
        self._loop, self._clock = loop, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
        handle = self._loop.call_later(delay, callback, *arguments)
        if delay == NEVER:
            self._clock.remember(handle, lambda: callback(*arguments))
        return handle


def turn_on_signal(expected: str) -> None:
    """Make the servers of this process wait for a request until TURN arrives.

    `expected` is a file with the number of connections, and of bytes that have to be received on all of them before.
    """
    clock = _Clock(Path(expected))

    class TurnedProtocol(protocol.BoundedHttpProtocol):
        def connection_made(self, transport: Any) -> None:
            self.loop = cast("asyncio.AbstractEventLoop", _Loop(self.loop, clock))
            super().connection_made(transport)
            clock.connections += 1

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            clock.received += len(data)

    protocol.REQUEST_TIMEOUT = NEVER
    vars(server)["BoundedHttpProtocol"] = TurnedProtocol
    signal.signal(TURN, lambda *_: asyncio.get_running_loop().call_soon_threadsafe(clock.turn))
