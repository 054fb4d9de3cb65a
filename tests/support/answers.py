"""An HTTP server that gives configured answers and records the requests. Also runs on Python 3.8."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A request: its headers by their lowercase names."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class AnsweringServer:
    """A server on 127.0.0.1, as a context manager. Without a configured answer, it answers 404 with an empty object."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        """Status and body by path without query; a body that is not text is sent as JSON."""
        self.received: list[Received] = []
        answering = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0))) if self.command == "POST" else b""
                answering.received.append(Received(self.command, self.path, headers, body))
                status, answered = answering.answers.get(self.path.partition("?")[0], (404, {}))
                content = (answered if isinstance(answered, str) else json.dumps(answered)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> AnsweringServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
