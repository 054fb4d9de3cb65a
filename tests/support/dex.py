"""A fake Dex: its token endpoint answers like Dex 2.45.0, with signed tokens."""

from __future__ import annotations

import json
import os
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

USERNAME, PASSWORD = "alice@example.com", "planted-password-%2B+"
CLIENT_ID, CLIENT_SECRET = "mlflow", "planted-client-secret-%+"
KEY_ID = "0" * 40
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def keys() -> dict[str, Any]:
    """Return the key set, as Dex has it under /keys."""
    numbers = KEY.public_key().public_numbers()
    n, e = (_encode(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
    return {"keys": [{"use": "sig", "kty": "RSA", "kid": KEY_ID, "alg": "RS256", "n": n, "e": e}]}


def jwt(*, key: rsa.RSAPrivateKey = KEY, kid: str = KEY_ID, **claims: Any) -> str:
    """Sign a token (RS256) with these claims in addition to Dex's usual ones. A claim with None is left out."""
    now = int(time.time())
    usual: dict[str, Any] = {
        "iss": "http://dex/dex",
        "sub": "CiQwOGE4Njg0Yi1kYjg4LTRiNzM",
        "aud": CLIENT_ID,
        "exp": now + 86400,
        "iat": now,
        "email": USERNAME,
        "email_verified": True,
        "groups": ["team-a", "ml"],
    }
    body = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    head = {"alg": "RS256", "kid": kid}
    signed = ".".join(_encode(json.dumps(part).encode()) for part in (head, body))
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encode(signature)}"


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class Answer:
    """The answers to the next requests, instead of Dex's own."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Dex:
    """The server, by default on a free port of the loopback address."""

    def __init__(
        self, address: tuple[str, int] = ("127.0.0.1", 0), *, issuer: str | None = None, lifetime: int = 86400
    ) -> None:
        self.claims: dict[str, Any] = {}
        self.lifetime = lifetime
        """Seconds from now until a token expires."""
        self.token: str | None = None
        """A token to return instead of a valid one."""
        self.answers: list[Answer] = []
        self.password_grant = True
        self.keys = keys()
        self.public = False
        self.requests: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(address, _handler(self))
        self.issuer = issuer or f"http://127.0.0.1:{self._server.server_port}/dex"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, form: dict[str, str], authorization: str) -> Answer:
        """Check a request in Dex's order: grant type, client, scopes, connector, password."""
        self.requests.append(form)
        if form.get("grant_type") != "password" or not self.password_grant:
            return _error(400, "unsupported_grant_type")
        client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization.startswith("Basic "):
            halves = b64decode(authorization[6:]).decode().partition(":")
            client_id, client_secret = unquote(halves[0]), unquote(halves[2])
        if (client_id, client_secret) != (CLIENT_ID, "" if self.public else CLIENT_SECRET):
            return _error(401, "invalid_client", "Invalid client credentials.")
        scopes = form.get("scope", "").split(" ")
        if "openid" not in scopes:
            return _error(400, "invalid_request", 'Missing required scope(s) ["openid"].')
        if "nonsense" in scopes:
            return _error(400, "invalid_request", 'Unrecognized scope(s) ["nonsense"]')
        if (form.get("username", "").lower(), form.get("password")) != (USERNAME, PASSWORD):
            return _error(401, "access_denied", "Invalid username or password")
        token = self.token if self.token is not None else self._mint()
        body = {"access_token": token, "token_type": "bearer", "expires_in": 86399, "id_token": token}
        return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _mint(self) -> str:
        return jwt(**{"iss": self.issuer, "exp": int(time.time()) + self.lifetime, **self.claims})


def _error(status: int, error: str, description: str = "") -> Answer:
    body = {"error": error} | ({"error_description": description} if description else {})
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _handler(dex: Dex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            if dex.answers:
                self._send(dex.answers.pop(0))
            elif self.path == "/dex/token":
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._send(dex.answer(form, self.headers.get("Authorization", "")))
            elif self.path.startswith("/dex/auth"):
                self._send(Answer(400, b"<html><title>dex</title></html>", {"Content-Type": "text/html"}))
            else:
                self._send(Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"}))

        def do_GET(self) -> None:
            grants = ["authorization_code"] + (["password"] if dex.password_grant else [])
            documents: dict[str, dict[str, Any]] = {
                "/dex/.well-known/openid-configuration": {
                    "issuer": dex.issuer,
                    "authorization_endpoint": f"{dex.issuer}/auth",
                    "jwks_uri": f"{dex.issuer}/keys",
                    "grant_types_supported": grants,
                },
                "/dex/keys": dex.keys,
            }
            if document := documents.get(self.path):
                self._send(Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"}))
            else:
                self._send(Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"}))

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base class
            pass

    return Handler


if __name__ == "__main__":  # in a pod of tests/e2e
    lifetime = int(os.environ.get("DEX_LIFETIME", "86400"))
    Dex(("0.0.0.0", 5556), issuer=os.environ["DEX_ISSUER"], lifetime=lifetime)
