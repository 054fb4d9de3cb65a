"""Pipes and sockets that are open, full, and read by nobody."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from typing import TextIO

LARGEST = 1 << 20
_kept: list[socket.socket | int] = []
"""The other ends, which have to stay open."""


def full_pipe() -> TextIO:
    """Return the end of a pipe into which nothing more can be written, in a process that waits for room."""
    reading, writing = os.pipe()
    _kept.append(reading)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, LARGEST)
    # opened again, so that the other end keeps waiting for room
    own = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(own, b"x" * 4096)
    os.close(own)
    return os.fdopen(writing, "w")


def full_socket() -> TextIO:
    """Return the end of a socket into which nothing more can be written, in a process that waits for room."""
    writing, reading = socket.socketpair()
    _kept.append(reading)
    with suppress(BlockingIOError):
        while True:
            writing.send(b"x" * 4096, socket.MSG_DONTWAIT)
    return os.fdopen(writing.detach(), "w")
