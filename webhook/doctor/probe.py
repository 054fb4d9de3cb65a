"""Sends requests to a tracking server as a wired pod does, and keeps the parts of the answers that matter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from json import loads
from time import monotonic
from typing import Any, Literal

import httpx

from webhook.core.values import SecretKey
from webhook.doctor.refresh_job import NO_JOB, RefreshJob
from webhook.doctor.remedies import MLFLOW_TOKEN, issuer_in, refresh_command
from webhook.token.claims import form_problem

INFO, LIST = "/api/3.0/mlflow/server-info", "/api/3.0/mlflow/workspaces"
SEARCH = "/api/2.0/mlflow/experiments/search"
JSON, ANY = "application/json", "*/*"
"""Accepted types. MLflow's client accepts any. To a request for JSON, oauth2-proxy does not send a page."""
_TITLE = re.compile(r"<title[^<>]*>([^<]*)</title>", re.IGNORECASE)
_MOST = 1 << 20
"""How many bytes of an answer are read by default. The beginning is enough to distinguish answers."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a wired pod has: the server, and perhaps a workspace and a token."""

    uri: str
    workspace: str | None
    token: str | None
    namespace: str = "NAMESPACE"
    secret: SecretKey = MLFLOW_TOKEN
    unread: Literal["", "token", "wiring"] = ""
    """What could not be read. It may exist, although it is None here."""
    job: RefreshJob = NO_JOB
    """The CronJob that refreshes the token, if the token names no issuer."""

    def refresh(self, *, force: bool = False, issuer: str | None = None, audience: str = "") -> str:
        """Return the command that gets a new token. `issuer`: by default the one of the current token or the job."""
        job = ""
        if issuer is None:
            issuer, job = issuer_in(self.token) or self.job.issuer, self.job.name
        return refresh_command(self.namespace, self.secret, issuer=issuer, force=force, audience=audience, job=job)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The parts of an HTTP answer that distinguish causes."""

    status: int
    kind: str
    text: str
    location: str
    challenge: str
    """The required authentication (`WWW-Authenticate`)."""
    identity: str | None
    """The user in the header `GAP-Auth`, which oauth2-proxy adds to MLflow's answers only."""
    json: Any

    @property
    def error_code(self) -> str:
        """Return MLflow's error code, in the format of MLflow or of its plugin for Kubernetes; empty without one."""
        if not isinstance(self.json, dict):
            return ""
        error = self.json.get("error")
        return str(self.json.get("error_code") or (error.get("code") if isinstance(error, dict) else "") or "")

    def summary(self) -> str:
        """Return the answer for a person: its status and type, and its beginning or a page's title."""
        found = _TITLE.search(self.text) if self.kind == "text/html" else None
        title = _line(found[1]) if found else ""
        what = f"the page {title!r}" if title else repr(_line(self.text))
        return f"{self.status} {self.kind or 'without a content type'}: {what}"


def _line(text: str) -> str:
    return " ".join(text[:160].split())


class Prober:
    """Sends requests about one target. `client` has the timeouts. With a token, no redirect is followed.

    At most `most` bytes of an answer are read.
    """

    def __init__(self, client: httpx.Client, target: Target, *, most: int = _MOST) -> None:
        self._client, self._target, self._most = client, target, most
        self.uri = target.uri

    def send(
        self,
        method: str,
        path: str,
        *,
        identified: bool = True,
        workspace: bool = False,
        accept: str = JSON,
        **content: Any,
    ) -> Answer:
        """Send a request, with the token if `identified`, with the workspace if `workspace`. Raises RequestError."""
        headers = {"Accept": accept}
        token = self._target.token
        if identified and token and token.isascii() and token.isprintable() and form_problem(token) is None:
            headers["Authorization"] = f"Bearer {token}"
        if workspace and self._target.workspace:
            headers["X-MLFLOW-WORKSPACE"] = self._target.workspace
        return self._exchange(
            method, self._target.uri.rstrip("/") + path, headers, {**content, "follow_redirects": False}
        )

    def fetch(self, url: str) -> Answer:
        """Get a public document from any server; redirects are followed, no token is sent. Raises RequestError."""
        return self._exchange("GET", url, {"Accept": JSON}, {"follow_redirects": True}, any_type=True)

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: Mapping[str, Any], *, any_type: bool = False
    ) -> Answer:
        headers = {"Accept-Encoding": "identity", **headers}
        self._client.cookies.clear()  # a pod's client has none
        try:
            with self._client.stream(method, url, headers=headers, **content) as response:
                text = self._hide(self._read(response))
        except (httpx.InvalidURL, UnicodeError) as error:
            raise httpx.UnsupportedProtocol(str(error)) from error
        names = ("content-type", "location", "gap-auth", "www-authenticate")
        said = {name: self._hide(response.headers.get(name, "")) for name in names}
        kind = said["content-type"].partition(";")[0].strip().lower()
        try:
            json = loads(text) if any_type or kind == JSON else None
        except (ValueError, RecursionError):
            json = None
        return Answer(
            status=response.status_code,
            kind=kind,
            text=text,
            location=said["location"],
            challenge=said["www-authenticate"],
            identity=said["gap-auth"] if "gap-auth" in response.headers else None,
            json=json,
        )

    def _read(self, response: httpx.Response) -> str:
        """Read at most `most` bytes, for at most the timeout of one read."""
        limit = self._client.timeout.read
        deadline = monotonic() + limit if limit is not None else None
        content = b""
        for part in response.iter_bytes():
            content += part
            if len(content) > self._most:
                break
            if deadline is not None and monotonic() > deadline:
                raise httpx.ReadTimeout("the answer did not end in time")
        return content[: self._most].decode("utf-8", "replace")

    def _hide(self, text: str) -> str:
        """Remove the token from a server's text, which may repeat the request."""
        token = (self._target.token or "").strip()
        return text.replace(token, "[hidden]") if token else text
