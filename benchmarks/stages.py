"""Measures the stages of a review: their functions are timed in a server that serves over TLS.

In a loop by itself a stage takes half as long. In the server, TLS and the client fill the CPU's caches between reviews.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from benchmarks.http import Server, ask, request
from benchmarks.measuring import CAPTURED, SMALL, sent
from webhook.cli import cli
from webhook.serving import mutate
from webhook.serving.metrics import Metrics

REVIEWS = 5_000
STAGES = ("decode_review", "decide", "patch", "encode_answer", "_line")

_spent: Counter[str] = Counter()


def measure() -> dict[str, Any]:
    """Send reviews one by one, and return the mean time of each stage in microseconds."""
    return {name: _measure(body) for name, body in (("small", sent(SMALL)), ("captured", sent(CAPTURED)))}


def _measure(body: bytes) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "stages.json")
        server = Server("webhook", Path(folder), (sys.executable, "-m", "benchmarks.stages", str(out)))
        with server.connect() as connection:
            for _ in range(REVIEWS):
                ask(connection, request(body))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        spent: dict[str, int] = json.loads(out.read_text())
    return {stage: nanoseconds / REVIEWS / 1e3 for stage, nanoseconds in spent.items()}


def _timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*arguments: Any, **named: Any) -> Any:
        started = perf_counter_ns()
        try:
            return function(*arguments, **named)
        finally:
            _spent[name] += perf_counter_ns() - started

    return timed


def _timed_coroutine(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def timed(*arguments: Any, **named: Any) -> Any:
        started = perf_counter_ns()
        try:
            return await function(*arguments, **named)
        finally:
            _spent[name] += perf_counter_ns() - started

    return timed


def serve(out: Path, arguments: list[str]) -> None:
    """Serve with timed stages, and write the sums at the end."""
    for stage in STAGES:
        setattr(mutate, stage, _timed(stage.strip("_"), getattr(mutate, stage)))
    for method in ("_body", "_review", "_respond"):
        setattr(mutate.Mutate, method, _timed_coroutine(method.strip("_"), getattr(mutate.Mutate, method)))
    Metrics.count = _timed("metrics", Metrics.count)  # type: ignore[method-assign]
    begin = mutate.Mutate.__init__

    def with_timed_log(self: mutate.Mutate, **named: Any) -> None:
        begin(self, **{**named, "write": _timed("log", named["write"])})

    mutate.Mutate.__init__ = with_timed_log  # type: ignore[method-assign,assignment]
    try:
        cli(arguments)
    finally:
        out.write_text(json.dumps(_spent))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2:])
