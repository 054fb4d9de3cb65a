"""Log lines: one JSON object (or one line of text) per event, and per decision.

Decisions have a separate writer: logging of the standard library costs 35 µs a line, half as much as a whole review. No
line contains a pod or the value of a variable. Nothing is buffered: a line that could not be written is lost, and never
appears in the middle of a later one. A line is also lost if nobody reads the pipe and it is full: waiting would stop
the whole server.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, TextIO

import msgspec

from webhook.errors import error_location

_PIPE_SIZE = 1 << 20
"""Bytes for about two thousand lines: the largest size that an unprivileged process may set (pipe(7))."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(*, form: str, level: str, stream: TextIO | None = sys.stderr) -> None:
    """Send all logging to `stream`, as "json" or "text", from `level` on."""
    handler = _Handler(stream)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("kubernetes", "urllib3", "httpx", "httpcore", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def count_lost_lines(on_lost: Callable[[], None]) -> None:
    """Call `on_lost` for each log line that cannot be written, except lines of decisions."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.on_lost = on_lost


def decision_writer(*, form: str, stream: TextIO | None = sys.stderr) -> Callable[[Mapping[str, Any]], None]:
    """Return the function that writes one decision's line. It raises OSError or ValueError if it cannot."""
    raw = _unbuffered(stream)
    if form == "text":

        def write(fields: Mapping[str, Any]) -> None:
            _write(raw, _encoded(f"{_now()} INFO decision {_pairs(fields)}"))

        return write

    encode = msgspec.json.Encoder().encode

    def write_json(fields: Mapping[str, Any]) -> None:
        _write(raw, encode({"time": datetime.now(UTC), "level": "info", "event": "decision", **fields}) + b"\n")

    return write_json


class _Handler(logging.Handler):
    """Writes lines to a stream; those that cannot be written are counted and dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._raw = _unbuffered(stream)
        self.on_lost: Callable[[], None] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        line = _encoded(self.format(record))
        try:
            _write(self._raw, line)
        except (OSError, ValueError):
            self.on_lost()


def _unbuffered(stream: TextIO | None) -> BinaryIO:
    if stream is None:  # Python sets it to None if standard error is closed
        closed = io.BytesIO()
        closed.close()
        return closed
    raw: BinaryIO = getattr(stream.buffer, "raw", stream.buffer)
    with suppress(OSError, ValueError):  # closed, or in memory
        _stop_waiting(raw.fileno())
    return raw


def _stop_waiting(number: int) -> None:
    """Make a write to a pipe or socket fail if it would wait for the reader."""
    mode = os.fstat(number).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) or not os.get_blocking(number):
        return
    with suppress(OSError, AttributeError):  # not a pipe, not allowed, or not Linux
        if fcntl.fcntl(number, fcntl.F_GETPIPE_SZ) < _PIPE_SIZE:
            fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    with suppress(OSError):
        # opened again, because otherwise the flag would also affect the other processes that write to it
        own = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
        os.dup2(own, number, inheritable=os.get_inheritable(number))
        os.close(own)
    os.set_blocking(number, False)


def _write(raw: BinaryIO, line: bytes) -> None:
    if raw.write(line) != len(line):
        raise OSError("only part of the line was written")


def _encoded(line: str) -> bytes:
    return line.encode(errors="backslashreplace") + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if record.exc_info and record.exc_info[1]:
        fields["error"] = error_location(record.exc_info[1])
    return fields


def _pairs(fields: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())


def _quoted(value: object) -> str:
    """Quote a value that could be mistaken for another field or line. At admission, names are not validated yet."""
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _now(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_extra(record),
        }
        return msgspec.json.encode(line, enc_hook=str).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_now()} {record.levelname} {record.getMessage()} {_pairs(_extra(record))}".rstrip()
