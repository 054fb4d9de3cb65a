"""Limits what a connection may cost: the time for a request to arrive, and the size of its header."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.serving.clients import STATE, common_name

REQUEST_TIMEOUT = 10.0
"""Seconds for a whole request to arrive, from the end of the TLS handshake or the first byte of the request. The API
server waits 30 at most for the answer."""
HEAD_LIMIT = 1 << 16
"""The most bytes that a request may send outside its body: in its header, or in its trailers."""
FIELD_LIMIT = 100
"""Header fields of a request, trailers included. Each needs 16 times its size in memory; the API server sends 10."""

_log = logging.getLogger(__name__)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection on which no complete request arrives in time, or one whose header is too large.

    uvicorn itself waits forever, and accepts a header of any size. There is one timer for header and body: a separate
    timeout for each body would cost a twentieth of a review.
    """

    refused: Callable[[int], None] = staticmethod(lambda _: None)
    """Called with the HTTP status of each request that is refused here, before it reaches the application."""
    _client_name: str | None = None
    """The common name in the client's certificate; None without a certificate."""
    _timer: asyncio.TimerHandle | None = None
    _bodiless = 0
    """Bytes received since the request started, or since the last byte of its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base class
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._client_name = common_name(transport.get_extra_info("peercert"))
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._request_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and refuse a header that is too large."""
        self._bodiless += len(data)
        super().data_received(data)
        if self._bodiless > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", f"the header is larger than {HEAD_LIMIT} bytes")
        elif self._timer is None and self._is_idle():
            # bytes that do not start a request, such as an empty line, have ended uvicorn's own wait for the next
            # request
            self._expect_request()

    def on_message_begin(self) -> None:
        """Start to wait for the end of the request."""
        super().on_message_begin()
        self.scope["state"][STATE] = self._client_name
        self._expect_request()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field. Raises ValueError when there are too many, which uvicorn answers with 400."""
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
        """Refuse data that is not HTTP."""
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
        """Answer 408 if that is possible: the header has arrived, and the request is not being answered yet."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            self._refuse(b"408 Request Timeout", f"the body did not arrive within {REQUEST_TIMEOUT:g} seconds")

    def _refuse(self, status: bytes, problem: str) -> None:
        """Close the connection, and send the reason unless it would look like the answer to an earlier request."""
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
