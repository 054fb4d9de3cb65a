"""Sends a probe to a tracking server as a wired pod would, and cuts the answer down to what tells it from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import loads
from typing import Any, Literal

import httpx

from webhook.token.claims import form_problem

INFO, LIST = "/api/3.0/mlflow/server-info", "/api/3.0/mlflow/workspaces"
SEARCH = "/api/2.0/mlflow/experiments/search"
JSON, ANY = "application/json", "*/*"
"""What may be answered. MLflow's client asks for anything; an oauth2-proxy refuses a request for JSON without HTML."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a wired pod has: the server, the workspace (None: none), and the token (None: none)."""

    uri: str
    workspace: str | None
    token: str | None
    namespace: str = "NAMESPACE"
    unread: Literal["", "token", "wiring"] = ""
    """What could not be read, so that its being None says nothing."""

    @property
    def refresh(self) -> str:
        """The command that gives a new token."""
        return f"mlflow-webhook token refresh --namespace {self.namespace}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer, cut down to what tells it from others."""

    status: int
    kind: str
    text: str
    location: str
    identity: str | None
    """Whom an oauth2-proxy let through to MLflow (`GAP-Auth`); None on every answer of its own."""
    json: Any

    @property
    def error_code(self) -> str:
        """MLflow's error code, in its own shape or in that of its plugin for Kubernetes."""
        if not isinstance(self.json, dict):
            return ""
        error = self.json.get("error")
        return str(self.json.get("error_code") or (error.get("code") if isinstance(error, dict) else "") or "")

    def shown(self) -> str:
        """The answer as it is, for a person: status, type, and how it begins."""
        return f"{self.status} {self.kind or 'without a type'}: {' '.join(self.text[:160].split())!r}"


class Asker:
    """Sends requests about one target, and never follows a redirect. `client` has the time-outs."""

    def __init__(self, client: httpx.Client, target: Target) -> None:
        self._client, self._target = client, target

    def ask(
        self,
        method: str,
        path: str,
        *,
        identified: bool = True,
        workspace: bool = False,
        accept: str = JSON,
        **content: Any,
    ) -> Answer:
        """Ask the server, with the target's token and workspace if told so. Raises httpx.RequestError."""
        headers = {"Accept": accept}
        token = self._target.token
        if identified and token and token.isascii() and form_problem(token) is None:
            headers["Authorization"] = f"Bearer {token}"
        if workspace and self._target.workspace:
            headers["X-MLFLOW-WORKSPACE"] = self._target.workspace
        return self._send(method, self._target.uri.rstrip("/") + path, headers, content)

    def fetch(self, url: str) -> Answer:
        """Get what anybody may, from any server; no token is sent. Raises httpx.RequestError or httpx.InvalidURL."""
        return self._send("GET", url, {"Accept": JSON}, {})

    def _send(self, method: str, url: str, headers: Mapping[str, str], content: Mapping[str, Any]) -> Answer:
        response = self._client.request(method, url, headers=headers, follow_redirects=False, **content)
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        text = self._hide(response.text)
        try:
            json = loads(text) if kind == JSON else None
        except (ValueError, RecursionError):
            json = None
        return Answer(
            status=response.status_code,
            kind=kind,
            text=text,
            location=self._hide(response.headers.get("location", "")),
            identity=response.headers.get("gap-auth"),
            json=json,
        )

    def _hide(self, text: str) -> str:
        """Take the token out of what a server said: it may repeat what it was sent."""
        token = (self._target.token or "").strip()
        return text.replace(token, "[hidden]") if token else text
