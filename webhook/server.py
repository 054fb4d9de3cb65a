"""Runs the application on uvicorn: TLS whose certificate can be replaced, time limits, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
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

KEEP_ALIVE = 120
"""Seconds; the API server drops idle connections after 90, and must never find one dropped by us first."""
HEAD_TIMEOUT = 10.0
"""Seconds for a request's head to arrive, from the connection's start or the request's first byte."""

_log = logging.getLogger(__name__)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends a connection on which no request's head is completed in time; uvicorn itself would wait for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base class
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._head_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to wait for the head's end."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Stop waiting."""
        self._head_arrived()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._head_arrived()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.close)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Server(uvicorn.Server):
    """uvicorn's server, which on the first signal goes on serving for a while: the cluster must notice first."""

    def __init__(self, config: uvicorn.Config, *, shutdown_delay: timedelta, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._shutdown_delay = shutdown_delay
        self._on_drain = on_drain
        self._draining = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as uvicorn does, but do not send them to ourselves again at the end: a drained end is a 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM or SIGINT; a second one, or Ctrl-C, ends at once."""
        if self._draining or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self._on_drain()
        asyncio.get_running_loop().call_later(self._shutdown_delay.total_seconds(), super().handle_exit, sig, frame)


def tls_context() -> ssl.SSLContext:
    """Make a server's context, still without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load_certificate(context: ssl.SSLContext, certificate_pem: bytes, private_key_pem: bytes) -> None:
    """Put a certificate into service: new handshakes get it at once, open connections go on.

    Python takes certificates from files only, so the key is on disk for a moment, in a folder of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tls.pem")
        path.touch(mode=0o600)
        path.write_bytes(certificate_pem + private_key_pem)
        context.load_cert_chain(path)


def create_server(
    app: ASGIApp,
    *,
    context: ssl.SSLContext,
    host: str,
    port: int,
    shutdown_delay: timedelta,
    on_drain: Callable[[], None],
) -> Server:
    """Configure the server; its `run` blocks until it has been told to end."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedHttpProtocol,
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
    return Server(config, shutdown_delay=shutdown_delay, on_drain=on_drain)
