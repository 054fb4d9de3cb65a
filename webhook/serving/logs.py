"""Log lines: one JSON object (or one line of text) per event, and per decision.

Decisions have a writer of their own: stdlib logging costs 35 µs a line, half of what a whole review does. No line ever
holds a pod or the value of a variable.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from webhook.errors import error_location

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(*, form: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Send all logging to `stream`, as "json" or "text", from `level` on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("kubernetes", "urllib3", "httpx", "httpcore", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def decision_writer(*, form: str, stream: TextIO = sys.stderr) -> Callable[[Mapping[str, Any]], None]:
    """Give the function that writes one decision's line."""
    if form == "text":

        def write(fields: Mapping[str, Any]) -> None:
            stream.write(f"{_now()} INFO decision {_pairs(fields)}\n")
            stream.flush()

        return write

    encode = msgspec.json.Encoder().encode
    raw = stream.buffer

    def write_json(fields: Mapping[str, Any]) -> None:
        raw.write(encode({"time": datetime.now(UTC), "level": "info", "event": "decision", **fields}) + b"\n")
        raw.flush()

    return write_json


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
    """Quote what could be taken for another field or another line: names are not validated yet at admission."""
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
