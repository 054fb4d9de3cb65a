"""A fake MLflow behind an oauth2-proxy: answers as observed with oauth2-proxy 7.15.3 and mlflow 3.17.2."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt

from tests.support.dex import keys

SIGN_IN = """<!DOCTYPE html><html><head><title>Sign In</title></head>
<body><form method="GET" action="{prefix}/start"></form></body></html>"""
NOT_ALLOWED = "<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>"
BAD_GATEWAY = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>"
PLUGIN_403 = {"error": {"code": "PERMISSION_DENIED", "message": "Permission denied for requested operation."}}
PLUGIN_401 = {"error": {"code": "UNAUTHENTICATED", "message": "Missing Authorization header."}}


@dataclass
class Reply:
    """One answer."""

    status: int
    body: str | dict[str, Any] = ""
    headers: dict[str, str] = field(default_factory=dict)

    def bytes(self) -> bytes:
        """Return the body."""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


def html(status: int, body: str) -> Reply:
    return Reply(status, body, {"Content-Type": "text/html; charset=utf-8"})


def of_json(status: int, body: dict[str, Any]) -> Reply:
    return Reply(status, body, {"Content-Type": "application/json"})


class Server:
    """The proxy and the server behind it, with switches for everything that can be wrong."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.proxied = True
        self.client_id = "mlflow"
        self.issuer = "http://dex/dex"
        self.login_url = ""
        """The value of --login-url, instead of the URL in the issuer's discovery document. It may be relative."""
        self.prefix = "/oauth2"
        """The value of --proxy-prefix."""
        self.takes_bearer = True
        """Whether --skip-jwt-bearer-tokens is on."""
        self.keys: dict[str, Any] | None = keys()
        """The issuer's keys; None if the proxy could not fetch them."""
        self.redirects = False
        """Whether --skip-provider-button is on."""
        self.json_errors = False
        """Whether --force-json-errors is on."""
        self.fallback = True
        """Whether --bearer-token-login-fallback is on."""
        self.own_paths = True
        """Whether the proxy's own paths are routed to it, or only the server's."""
        self.allowed = True
        self.identity: str | None = None
        self.mlflow_up = True
        self.workspaces_enabled = True
        self.workspaces = {"team-a", "default"}
        self.replies: dict[str, Reply] = {}
        """Fixed answers by path."""
        self.everywhere: Reply | None = None
        """The fixed answer for all other paths."""
        self.authorizations: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, path: str, headers: dict[str, str]) -> Reply:
        """Answer a request like the proxy, or like MLflow behind it."""
        path = path.partition("?")[0]
        if path in self.replies:
            return self.replies[path]
        if self.everywhere:
            return self.everywhere
        if not self.proxied:
            return self._mlflow(path, headers)
        if not self.own_paths and (path == "/ping" or path.startswith(f"{self.prefix}/")):
            return Reply(404, "default backend - 404", {"Content-Type": "text/plain"})
        if path == "/ping":
            return Reply(200, "OK", {"Content-Type": "text/plain; charset=utf-8"})
        if path == f"{self.prefix}/start":
            return self._redirect()
        authorization = headers.get("authorization")
        identity = self._identity(authorization or "")
        if identity is None and authorization is not None and not self.fallback:
            return Reply(403, "Forbidden\n", {"Content-Type": "text/plain; charset=utf-8"})
        if path == f"{self.prefix}/auth":
            if identity is None or not self.allowed:
                return Reply(401, "Unauthorized\n", {"Content-Type": "text/plain; charset=utf-8"})
            return Reply(202, "", {"GAP-Auth": identity})
        if identity is None:
            return self._refusal(headers.get("accept", ""))
        if not self.allowed:
            return of_json(403, {}) if self.json_errors else html(403, NOT_ALLOWED)
        reply = self._mlflow(path, headers) if self.mlflow_up else html(502, BAD_GATEWAY)
        return Reply(reply.status, reply.body, {**reply.headers, "GAP-Auth": identity})

    def _identity(self, authorization: str) -> str | None:
        """Check a token as the proxy does, with another library than the doctor's."""
        token = authorization.removeprefix("Bearer ")
        if not self.takes_bearer or token == authorization or self.keys is None:
            return None
        try:
            key = jwt.PyJWKSet.from_dict(self.keys)[jwt.get_unverified_header(token)["kid"]]
            claims = jwt.decode(token, key, ["RS256"], audience=self.client_id, issuer=self.issuer)
        except (jwt.PyJWTError, KeyError):
            return None
        if claims.get("email_verified") is False:
            return None
        return self.identity or str(claims.get("email") or claims["sub"])

    def _redirect(self) -> Reply:
        query = f"approval_prompt=force&client_id={self.client_id}&response_type=code&scope=openid&state=x"
        return Reply(302, "", {"Location": f"{self.login_url or f'{self.issuer}/auth'}?{query}"})

    def _refusal(self, accept: str) -> Reply:
        if self.json_errors or "application/json" in [element.strip() for element in accept.split(",")]:
            return of_json(401, {})
        return self._redirect() if self.redirects else html(403, SIGN_IN.format(prefix=self.prefix))

    def _mlflow(self, path: str, headers: dict[str, str]) -> Reply:
        workspace = headers.get("x-mlflow-workspace")
        if path == "/api/3.0/mlflow/server-info":
            return of_json(200, {"workspaces_enabled": self.workspaces_enabled})
        if path == "/api/3.0/mlflow/workspaces":
            return of_json(200, {"workspaces": [{"name": name} for name in self.workspaces]})
        if path == "/api/2.0/mlflow/experiments/search":
            if workspace and not self.workspaces_enabled:
                return of_json(500, {"error_code": "FEATURE_DISABLED", "message": "Workspace APIs are not available"})
            if workspace and workspace not in self.workspaces:
                return of_json(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"'{workspace}' not found"})
            return of_json(200, {})
        return html(404, "<!doctype html><title>404 Not Found</title>")


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = {name.lower(): value for name, value in self.headers.items()}
            server.authorizations.append(given.get("authorization", ""))
            reply = server.answer(self.path, given)
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.bytes()))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.bytes())

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base class
            pass

    return Handler
