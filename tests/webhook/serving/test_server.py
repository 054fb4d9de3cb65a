"""The server alone: certificates that are put into service, and an orderly shutdown."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509

from certs.issue import KeyPair, issue_ca, issue_leaf
from certs.ports import InstallError
from tests.support.waiting import DEADLINE, wait_until
from webhook.serving import server as module
from webhook.serving.app import create_app
from webhook.serving.metrics import Metrics
from webhook.serving.server import Server, create_server, load_certificate

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
CA = issue_ca(common_name="a CA", lifetime=DAY, now=NOW)


def leaf(name: str) -> KeyPair:
    return issue_leaf(CA, dns_names=[name, "localhost"], lifetime=DAY, now=NOW)


async def _no_reviews(*_: object) -> None:
    raise AssertionError


def create(*, delay: timedelta = timedelta(0)) -> Server:
    app = create_app(mutate=_no_reviews, metrics=Metrics(), problems={})
    return create_server(app, certificate=leaf("first"), host="127.0.0.1", port=0, shutdown_delay=delay)


@contextmanager
def running(server: Server) -> Iterator[tuple[str, int]]:
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server", every=0.01)
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()


def connect(address: tuple[str, int]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=CA.certificate_pem.decode())
    return context.wrap_socket(socket.create_connection(address, timeout=DEADLINE), server_hostname="localhost")


def served(connection: ssl.SSLSocket) -> str:
    certificate = x509.load_der_x509_certificate(cast("bytes", connection.getpeercert(binary_form=True)))
    return certificate.subject.rfc4514_string()


def test_new_connections_get_a_new_certificate_and_open_ones_continue() -> None:
    server = create()
    with running(server) as address, connect(address) as before:
        server.install(leaf("second"))
        with connect(address) as after:
            assert (served(before), served(after)) == ("CN=first", "CN=second")
            for connection in (before, after):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_certificate_that_comes_before_the_start_is_served_from_the_start() -> None:
    server = create()
    server.install(leaf("second"))
    with running(server) as address, connect(address) as connection:
        assert served(connection) == "CN=second"


def test_a_certificate_for_a_server_that_has_stopped_is_refused() -> None:
    server = create()
    with running(server):
        pass
    with pytest.raises(InstallError, match="the server has stopped"):
        server.install(leaf("late"))


def test_a_server_that_is_busy_for_too_long_causes_a_failure_and_not_a_deadlock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "INSTALL_TIMEOUT", 0.05)
    server, go_on = create(), threading.Event()
    with running(server):
        loop = cast("asyncio.AbstractEventLoop", server._loop)
        loop.call_soon_threadsafe(go_on.wait, DEADLINE)
        try:
            with pytest.raises(InstallError, match=r"did not load the certificate within 0\.05 seconds"):
                server.install(leaf("second"))
        finally:
            go_on.set()


def test_nothing_older_than_tls_1_2_is_supported() -> None:
    assert create()._context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_key_is_on_disk_only_for_a_moment_and_only_for_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    modes: list[str] = []

    class Context:
        def load_cert_chain(self, path: Path) -> None:
            modes.extend(stat.filemode(place.stat().st_mode) for place in (path.parent, path))

    load_certificate(cast("ssl.SSLContext", Context()), leaf("x"))
    assert modes == ["drwx------", "-rw-------"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("signals", "delay"),
    [([signal.SIGTERM], 0.2), ([signal.SIGTERM, signal.SIGTERM], 0.0), ([signal.SIGINT], 0.0)],
    ids=["SIGTERM", "SIGTERM twice", "SIGINT"],
)
def test_it_stops_after_the_delay_or_at_once(signals: list[signal.Signals], delay: float) -> None:
    async def stop() -> None:
        server = create(delay=timedelta(seconds=0.2))
        started = time.monotonic()
        for number in signals:
            server.handle_exit(number, None)
        assert server.draining is (signals[0] == signal.SIGTERM)
        assert server.should_exit is (delay == 0)
        while not server.should_exit:  # noqa: ASYNC110 - uvicorn has only this flag
            await asyncio.sleep(0.005)
        assert time.monotonic() - started >= delay

    asyncio.run(stop())


@pytest.mark.parametrize("problem", ["no disk", "no PEM"])
def test_a_certificate_that_cannot_be_loaded_is_refused_with_the_reason(
    problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if problem == "no disk":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(
            InstallError, match=r"temporary file for the certificate \(TMPDIR\): No such file or directory"
        ):
            load_certificate(context, leaf("x"))
    else:
        with pytest.raises(InstallError, match="OpenSSL does not accept the certificate: ") as caught:
            load_certificate(context, KeyPair(certificate_pem=b"rubbish", private_key_pem=b"planted-key"))
        assert "planted-key" not in str(caught.value)
