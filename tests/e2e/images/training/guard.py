"""A stand-in for the oauth2-proxy before MLflow. It passes requests whose token has not expired; others get 401.

Only the expiry is looked at.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from base64 import urlsafe_b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"host", "content-length", "transfer-encoding", "connection"}


def is_good(authorization: str) -> bool:
    """Return whether a header has a token that has not expired."""
    try:
        payload = authorization.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return bool(claims["exp"] > time.time())
    except (IndexError, KeyError, ValueError):
        return False


class Guard(BaseHTTPRequestHandler):
    """Answers each request."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Pass the request on, or refuse it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not is_good(self.headers.get("Authorization", "")):
            self._send(401, "application/json", b'{"error_code": "UNAUTHENTICATED", "message": "token has expired"}')
        else:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection = http.client.HTTPConnection(os.environ["SERVER"], timeout=60)
            connection.request(self.command, self.path, body, headers)
            found = connection.getresponse()
            self._send(found.status, found.headers.get("Content-Type", "text/plain"), found.read())
            connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base class
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 5000), Guard).serve_forever()
