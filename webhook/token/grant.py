"""Mints a token by the password grant (RFC 6749, section 4.3) at Dex's token endpoint.

What Dex answers in each case was observed with Dex 2.45.0. Every failure is a GrantError. Its message never contains a
part of a request.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import httpx

from webhook.network import fault_of
from webhook.token.issuer import read_discovery

SCOPE = "openid email groups"
ATTEMPTS = 4
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""


class GrantError(Exception):
    """No token was minted. `code` is a stable name of the cause; `may_pass`: whether a retry can succeed."""

    def __init__(self, code: str, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.code, self.may_pass = code, may_pass


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user and a client. Its repr shows only the names."""

    username: str
    password: str = field(repr=False)
    client_id: str
    client_secret: str = field(default="", repr=False)
    """The client's secret. Empty for a public client, which must not send one."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The token endpoint, and what to request. Without a `token_url`, it is Dex's ``{issuer}/token``."""

    issuer: str
    token_url: str = ""
    scope: str = SCOPE
    basic: bool = False
    """Send the client's id and secret in a Basic header instead of the body."""

    @property
    def url(self) -> str:
        """Return the address of the token endpoint."""
        return self.token_url or f"{self.issuer.rstrip('/')}/token"

    def check(self) -> None:
        """Raise GrantError unless both addresses are valid. They are printed later, so no password is allowed."""
        for name, text in (("issuer", self.issuer), ("token URL", self.token_url or self.issuer)):
            try:
                parts = urlsplit(text)
                good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            except ValueError:
                parts, good = None, False
            if parts is None or not good:
                raise GrantError(
                    "invalid_url",
                    f"The {name} is not a valid address: expected http:// or https://, a host and a path.",
                )
            if parts.username is not None or parts.query or parts.fragment:
                raise GrantError(
                    "not_a_plain_url",
                    f"The {name} must not have a user name, password, query or fragment.",
                )


def mint(
    endpoint: Endpoint,
    credentials: Credentials,
    *,
    client: httpx.Client,
    sleep: Callable[[float], None],
    attempts: int = ATTEMPTS,
) -> str:
    """Return a new id token. Temporary failures are retried, up to `attempts` attempts in total. Raises GrantError."""
    endpoint.check()
    pause = FIRST_PAUSE
    for attempt in range(1, attempts + 1):
        try:
            return _ask(endpoint, credentials, client)
        except GrantError as error:
            if not error.may_pass or attempt == attempts:
                raise
        sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - so that many jobs do not send requests at once
        pause *= 2
    raise AssertionError("not reached: the last attempt returns or raises")


def _ask(endpoint: Endpoint, credentials: Credentials, client: httpx.Client) -> str:
    form = {
        "grant_type": "password",
        "scope": endpoint.scope,
        "username": credentials.username,
        "password": credentials.password,
    }
    headers = {"Accept": "application/json"}
    if endpoint.basic:
        # RFC 6749, section 2.3.1: both halves are percent-encoded first. Dex decodes them.
        pair = f"{quote(credentials.client_id, safe='')}:{quote(credentials.client_secret, safe='')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        form["client_id"] = credentials.client_id
        if credentials.client_secret:
            form["client_secret"] = credentials.client_secret
    answer = _post(client, endpoint.url, form, headers)
    if isinstance(answer, GrantError):
        raise answer
    content = _json(answer)
    if answer.status_code == 200 and content is not None:
        token = content.get("id_token")
        if not isinstance(token, str) or not token:
            raise GrantError("no_id_token", f"{endpoint.url} returned no id_token: the scope must contain openid.")
        return token
    raise _refusal(endpoint, credentials, content, answer, client)


def _post(client: httpx.Client, url: str, form: dict[str, str], headers: dict[str, str]) -> httpx.Response | GrantError:
    """Send the form. A failure is returned, not raised.

    httpx's exception contains the request, and the request contains the password. To raise here would keep both as the
    context.
    """
    try:
        return client.post(url, data=form, headers=headers, follow_redirects=False)
    except httpx.TransportError as error:
        fault = fault_of(error)
        return GrantError(fault.value, fault.sentence(url), may_pass=fault.may_pass)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return GrantError("invalid_url", f"{url} is not a valid address: {type(error).__name__}.")


def _hide(text: str, credentials: Credentials) -> str:
    """Remove the secrets from a server's message, which may repeat the request."""
    for secret in (credentials.password, credentials.client_secret):
        for form in {secret, quote(secret), quote_plus(secret)} - {""}:
            text = text.replace(form, "[hidden]")
    return text


def _refusal(
    endpoint: Endpoint,
    credentials: Credentials,
    content: dict[str, Any] | None,
    answer: httpx.Response,
    client: httpx.Client,
) -> GrantError:
    status = answer.status_code
    url = endpoint.url
    if status == 429 or status >= 500:
        return GrantError("unavailable", f"{url} answered with status {status}. Retry later.", may_pass=True)
    if 300 <= status < 400:
        return GrantError("redirect", f"{url} is not a token endpoint: it redirects to {_place(answer)}.")
    if "HTTP request to an HTTPS server" in answer.text[:200]:  # servers written in Go answer like this, Dex among them
        return GrantError("plain_to_a_tls_port", f"{url} is a TLS port: use https://.")
    if content is None or "error" not in content:
        return GrantError(
            "not_a_token_endpoint",
            f"{url} is not a token endpoint (status {status}). Dex's is ISSUER/token; the issuer usually ends in /dex.",
        )
    said = _printable(content.get("error_description"))
    shown = _hide(said, credentials)
    match content.get("error"):
        case "access_denied":
            return GrantError(
                "access_denied",
                "Dex refused the user name or the password; it does not say which one. For Dex's own users, the user "
                "name is the e-mail address. Check for a newline at the end of either.",
            )
        case "invalid_client":
            return GrantError(
                "invalid_client",
                "Dex does not know this client id with this secret. The password was not checked yet. A public client "
                "must not send a secret.",
            )
        case "unsupported_grant_type" if not _offers_password(endpoint, client):
            return GrantError(
                "no_password_grant",
                "This Dex does not offer the password grant: its oauth2.passwordConnector is not set.",
            )
        case "invalid_request" if "Missing required scope" in said:
            return GrantError("scope_without_openid", "The scope must contain openid; scopes are separated by spaces.")
        case "invalid_request" if "can't request scope" in said:
            return GrantError(
                "client_not_trusted",
                f"Dex: {shown}. That client must list this one in its trustedPeers.",
            )
        case "invalid_request" if "Unrecognized scope" in said:
            return GrantError("scope_refused", f"Dex does not have this scope: {shown}.")
        case "invalid_request" if "improperly encoded" in said:
            return GrantError(
                "badly_encoded",
                "Dex could not decode the client's id or secret in the Basic header. Call again without --basic.",
            )
        case "invalid_request" if "connector does not exist" in said:
            return GrantError(
                "no_such_connector",
                "Dex's oauth2.passwordConnector names a connector that does not exist. Ask Dex's admin to change it.",
            )
        case error:
            unknown = _hide(_printable(error), credentials)
            return GrantError("refused", f"{url} refused with status {status}: {unknown} {shown}".rstrip())


def _offers_password(endpoint: Endpoint, client: httpx.Client) -> bool:
    grants = (read_discovery(endpoint.issuer, client) or {}).get("grant_types_supported")
    return not isinstance(grants, list) or "password" in grants


def _place(answer: httpx.Response) -> str:
    """Return the target of a redirect, without parts that may be secret."""
    try:
        target = urlsplit(answer.headers.get("location", ""))
        host = target.hostname
    except ValueError:
        return "an invalid address"
    return _printable(f"{target.scheme}://{host}{target.path}" if host else target.path)


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return None
    try:
        content = answer.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _printable(value: object) -> str:
    return "".join(c for c in value[:200] if c.isprintable()).rstrip(".") if isinstance(value, str) else ""
