"""An HTTP server that records the path and headers of each request, and forwards or redirects it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx


class Recorded(NamedTuple):
    """A request: its path, its headers by their lowercase names, and the status of its answer."""

    path: str
    headers: dict[str, str]
    status: int


class Recorder:
    """A server on 127.0.0.1, as a context manager. `seen` holds the requests.

    It forwards to `target` or redirects to `redirect`, which are base URLs. Without them it answers 404.
    """

    def __init__(self, target: str | None = None, redirect: str | None = None) -> None:
        self.seen: list[Recorded] = []
        self._target, self._redirect = target, redirect
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answered, content = recorder._answer(self.command, self.path, headers, body)
                recorder.seen.append(Recorded(self.path, headers, status))
                self.send_response(status)
                for name, value in answered.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if self._redirect:
            return 302, {"Location": self._redirect + path}, b""
        if not self._target:
            return 404, {"Content-Type": "application/json"}, b"{}"
        kept = {name: value for name, value in headers.items() if name not in {"host", "content-length"}}
        found = httpx.request(method, self._target + path, headers=kept, content=body, trust_env=False, timeout=30)
        return found.status_code, {"Content-Type": "application/json"}, found.content

    def __enter__(self) -> Recorder:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def authorizations(self) -> list[str]:
        """Return the header Authorization of each request, or an empty text."""
        return [request.headers.get("authorization", "") for request in self.seen]
