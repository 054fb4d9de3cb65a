"""Runs the application on uvicorn: TLS with a certificate that can be replaced, time limits, an orderly shutdown."""

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
from webhook.serving.clients import ClientVerification
from webhook.serving.protocol import BoundedHttpProtocol

KEEP_ALIVE = 120
"""Seconds. The API server closes idle connections after 90, and this server must not close them before that."""
INSTALL_TIMEOUT = 5.0
"""Seconds for the server's thread to load a new certificate."""

_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn's server, which keeps serving for a while after the first signal, until the cluster has noticed."""

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
        """Whether the server is stopping, and serves only until the cluster has noticed."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._loop = asyncio.get_running_loop()
        self._on_start()
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                address, port, *_ = listening.getsockname()
                _log.info("listening", extra={"address": address, "port": port})

    def install(self, certificate: KeyPair) -> None:
        """Put a certificate into service: new handshakes use it immediately, and open connections stay open.

        Call it from another thread than the server's. Raises InstallError.
        """
        if self._loop is None:
            load_certificate(self._context, certificate)
            return
        loading = self._load(certificate)
        try:
            asyncio.run_coroutine_threadsafe(loading, self._loop).result(INSTALL_TIMEOUT)
        except TimeoutError as error:
            raise InstallError(f"the server did not load the certificate within {INSTALL_TIMEOUT:g} seconds") from error
        except RuntimeError as error:
            loading.close()
            raise InstallError("the server has stopped") from error

    async def _load(self, certificate: KeyPair) -> None:
        # in the loop's thread, so that no handshake starts between the certificate and its key
        load_certificate(self._context, certificate)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals as uvicorn does, but do not raise them again at the end: an orderly shutdown exits with 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take SIGTERM or SIGINT; a second one, or Ctrl-C, stops without the delay."""
        if self.draining or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
            return
        self.draining = True
        asyncio.get_running_loop().call_later(self._shutdown_delay.total_seconds(), super().handle_exit, sig, frame)


def load_certificate(context: ssl.SSLContext, certificate: KeyPair) -> None:
    """Load a certificate and its key into a context. Raises InstallError.

    Python loads them only from files, so the key is on disk for a moment, in a folder that only this user can read.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tls.pem")
            path.touch(mode=0o600)
            path.write_bytes(certificate.certificate_pem + certificate.private_key_pem)
            context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise InstallError(f"OpenSSL does not accept the certificate: {error.reason or error}") from error
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
    clients: ClientVerification | None = None,
) -> Server:
    """Configure the server; its `run` blocks until it has been told to stop. Raises InstallError.

    `on_start` is called once its loop runs, `on_refused` with the status of each request that is refused before it
    reaches the application. Clients are asked for a certificate if `clients` is given.
    """

    class Protocol(BoundedHttpProtocol):
        refused = staticmethod(on_refused)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if clients:
        clients.request_certificates(context)
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
