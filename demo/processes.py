"""Starts and stops the demo's processes: an MLflow server, the webhook, and training code; all on 127.0.0.1."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

PORTS = range(20_000, 32_000)
"""These are below the ports that Linux and macOS give to connections, and to servers that ask for any port."""


class DemoError(Exception):
    """The demo cannot continue, or a result is wrong. The message says why."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Make SIGTERM end this process as Ctrl-C does, so that no child process stays."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def free_port() -> int:
    """Return a free port of 127.0.0.1, which no connection takes before a server listens on it."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise DemoError("no port of 127.0.0.1 is free")


@contextmanager
def mlflow_server(python: Path, folder: Path, *, workspaces: bool = True) -> Iterator[str]:
    """Run a tracking server, with or without workspaces, with an empty store, and yield its address."""
    port = free_port()
    # With its jobs (evaluations, scorers) the server starts eight more processes, which take longer than all the rest.
    environment = {**_outer_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [
        str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts",
        "--default-artifact-root", "mlflow-artifacts:/", *(["--enable-workspaces"] if workspaces else []),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with _process(command, environment=environment, log=folder / "mlflow.log") as process:
        _wait(process, lambda: httpx.get(f"{url}/health", trust_env=False).is_success, folder / "mlflow.log")
        yield url


@contextmanager
def webhook_server(tracking_uri: str, namespace: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Run the webhook itself, standalone, over TLS, and yield its address and its CA's file."""
    port, ca = free_port(), folder / "webhook-ca.pem"
    command = [
        sys.executable, "-m", "webhook.cli", "serve", "--standalone", "--port", str(port), "--ca-file", str(ca),
        "--namespace", namespace,
    ]  # fmt: skip
    environment = {**_outer_environment(), "MLFLOW_WEBHOOK_TRACKING_URI": tracking_uri}
    with _process(command, environment=environment, log=folder / "webhook.log") as process:
        _wait(process, lambda: ca.exists() and _listens(port), folder / "webhook.log")
        yield f"https://127.0.0.1:{port}", ca


def run_container(command: list[str], environment: Mapping[str, str], *, python: Path, folder: Path) -> None:
    """Run a container's code with only its own environment. Raises DemoError if it fails."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    minimal = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(folder)}
    run_code("the training code", command, environment={**minimal, **environment}, folder=home)


def run_code(
    what: str, command: list[str], *, environment: Mapping[str, str] | None = None, folder: Path, limit: float = 300
) -> None:
    """Run a command in a folder and wait for its end, at most `limit` seconds.

    Raises DemoError, with the last lines of its output, if it fails.
    """
    try:
        result = subprocess.run(  # noqa: S603 - the demo's own example code
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"{what} did not end within {limit:g} s") from None
    if result.returncode:
        raise DemoError(f"{what} failed:\n{result.stderr[-2000:]}")


def _outer_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


@contextmanager
def _process(command: list[str], *, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as stack:
        # A signal that ended this process here would leave the child running: it is not registered yet.
        with log.open("wb") as output, _signals_later(signal.SIGINT, signal.SIGTERM):
            # a separate process group, because the MLflow server has child processes
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command, env=dict(environment), stdout=output, stderr=output, start_new_session=True
            )
            stack.callback(_end, process)
        yield process


@contextmanager
def _signals_later(*numbers: signal.Signals) -> Iterator[None]:
    """Handle signals that arrive inside the block at its end. Child processes do not inherit this, unlike a mask."""
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signal_number in arrived:
            signal.raise_signal(signal_number)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself; its log says why
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if ready():
                return
        time.sleep(0.2)
    raise DemoError(f"a server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
