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

from certs.issue import KeyPair
from certs.ports import InstallError
from webhook.serving.protocol import BoundedHttpProtocol

KEEP_ALIVE = 120
"""Seconds; the API server drops idle connections after 90, and must never find one dropped by us first."""
INSTALL_TIMEOUT = 5.0
"""Seconds for the server's thread to take a new certificate."""

_log = logging.getLogger(__name__)


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
