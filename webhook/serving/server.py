"""Runs the application on uvicorn: TLS whose certificate can be replaced, time limits, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from certs.issue import KeyPair
from certs.ports import InstallError

KEEP_ALIVE = 120
"""Seconds; the API server drops idle connections after 90, and must never find one dropped by us first."""
REQUEST_TIMEOUT = 10.0
"""Seconds for a whole request to arrive, from the TLS handshake's end or the request's first byte. The API server waits
30 at most for the answer."""
INSTALL_TIMEOUT = 5.0
"""Seconds for the server's thread to take a new certificate."""
HEAD_LIMIT = 1 << 16
"""Bytes that a request may send without a byte of its body among them: its head, and its trailers."""
FIELD_LIMIT = 100
"""Header fields of a request, trailers included. Each costs some sixteen times its bytes; the API server sends ten."""

_log = logging.getLogger(__name__)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends a connection on which no whole request arrives in time, or one with a head beyond measure.

    uvicorn itself would wait for ever, and take any head. One timer for head and body: a time-out of its own for each
    body would cost a twentieth of a review.
    """

    refused: Callable[[int], None] = staticmethod(lambda _: None)
    """Is told the HTTP status of each request that is refused here, before the application has seen it."""
    _timer: asyncio.TimerHandle | None = None
    _bodiless = 0
    """Bytes received since the request's beginning, or the last byte of its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base class
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._request_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and refuse a head that is too large."""
        self._bodiless += len(data)
        super().data_received(data)
        if self._bodiless > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", f"the head is larger than {HEAD_LIMIT} bytes")
        elif self._timer is None and self._is_idle():
            # bytes that begin no request, such as an empty line, have ended uvicorn's own wait for the next one
            self._expect_request()

    def on_message_begin(self) -> None:
        """Begin to wait for the request's end."""
        super().on_message_begin()
        self._expect_request()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field. Raises ValueError for one too many, which uvicorn answers with 400."""
        if len(self.headers) >= FIELD_LIMIT:
            raise ValueError("too many header fields")
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._bodiless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting."""
        self._bodiless = 0
        self._request_arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self.refused(400)
        super().send_400_response(msg)

    def _expect_request(self) -> None:
        self._request_arrived()
        self._timer = self.loop.call_later(REQUEST_TIMEOUT, self._give_up)

    def _request_arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_idle(self) -> bool:
        return self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)

    def _give_up(self) -> None:
        """Say 408 to whom is heard: a request whose head has arrived, and which is not being answered yet."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            self._refuse(b"408 Request Timeout", f"the body did not arrive within {REQUEST_TIMEOUT:g} seconds")

    def _refuse(self, status: bytes, problem: str) -> None:
        """End the connection, and say why unless that would be taken for the answer to an earlier request."""
        cycle = self.cycle
        answering = (
            cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)
        )
        if answering or self.pipeline:
            self.transport.abort()
            return
        self.refused(int(status[:3]))
        _log.warning("bad request", extra={"status": int(status[:3]), "problem": problem})
        text = problem.encode() + b"\n"
        self.transport.write(
            b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\n\r\n%b" % (status, len(text), text)
        )
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which on the first signal goes on serving for a while: the cluster must notice first."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        context: ssl.SSLContext,
        shutdown_delay: timedelta,
        on_start: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._context = context
        self._shutdown_delay = shutdown_delay
        self._on_start = on_start
        self._loop: asyncio.AbstractEventLoop | None = None
        self.draining = False
        """Whether the server has been told to end, and serves on only until the cluster has noticed."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        self._loop = asyncio.get_running_loop()
        self._on_start()
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                address, port, *_ = listening.getsockname()
                _log.info("listening", extra={"address": address, "port": port})

    def install(self, certificate: KeyPair) -> None:
        """Put a certificate into service: new handshakes get it at once, open connections go on.

        For threads other than the server's. Raises InstallError.
        """
        if self._loop is None:
            load_certificate(self._context, certificate)
            return
        loading = self._load(certificate)
        try:
            asyncio.run_coroutine_threadsafe(loading, self._loop).result(INSTALL_TIMEOUT)
        except TimeoutError as error:
            raise InstallError(f"the server did not take the certificate within {INSTALL_TIMEOUT:g} seconds") from error
        except RuntimeError as error:
            loading.close()
            raise InstallError("the server has ended") from error

    async def _load(self, certificate: KeyPair) -> None:
        # in the loop's thread, so that no handshake begins between the certificate and its key
        load_certificate(self._context, certificate)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as uvicorn does, but do not send them to ourselves again at the end: a drained end is a 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM or SIGINT; a second one, or Ctrl-C, ends without the delay."""
        if self.draining or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
            return
        self.draining = True
        asyncio.get_running_loop().call_later(self._shutdown_delay.total_seconds(), super().handle_exit, sig, frame)


def load_certificate(context: ssl.SSLContext, certificate: KeyPair) -> None:
    """Load a certificate and its key into a context. Raises InstallError.

    Python takes them from files only, so the key is on disk for a moment, in a folder of its own.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tls.pem")
            path.touch(mode=0o600)
            path.write_bytes(certificate.certificate_pem + certificate.private_key_pem)
            context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise InstallError(f"OpenSSL refuses the certificate: {error.reason or error}") from error
    except OSError as error:
        raise InstallError(f"cannot write a temporary file for the certificate (TMPDIR): {error.strerror}") from error


def create_server(
    app: ASGIApp,
    *,
    certificate: KeyPair,
    host: str,
    port: int,
    shutdown_delay: timedelta,
    on_start: Callable[[], None] = lambda: None,
    on_refused: Callable[[int], None] = lambda _: None,
) -> Server:
    """Configure the server; its `run` blocks until it has been told to end. `on_start` runs when its loop does.

    Raises InstallError.
    `on_refused` is told the status of each request that never reaches the application.
    """

    class Protocol(BoundedHttpProtocol):
        refused = staticmethod(on_refused)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, certificate)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=10,
        ssl_context_factory=lambda *_: context,
    )
    return Server(config, context=context, shutdown_delay=shutdown_delay, on_start=on_start)
