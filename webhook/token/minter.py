"""Mints tokens with one set of settings, and describes these settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx

from webhook.token.credentials import CredentialsError
from webhook.token.grant import Credentials, Endpoint, GrantError, mint
from webhook.token.issuer import Published, read_published
from webhook.token.origin import Origin


@dataclass(frozen=True, kw_only=True)
class PasswordMinter:
    """Mints by the password grant. `find` returns the credentials; with True it may prompt for them."""

    endpoint: Endpoint
    find: Callable[[bool], Credentials]
    client: httpx.Client
    sleep: Callable[[float], None]
    attempts: int

    def mint(self) -> tuple[str, Origin]:
        """Mint a token. Raises GrantError, CredentialsError."""
        credentials = self.find(True)
        token = mint(self.endpoint, credentials, client=self.client, sleep=self.sleep, attempts=self.attempts)
        return token, self._origin(credentials)

    def settings(self) -> Origin:
        """Return the settings for a token; only the scope if the credentials cannot be read."""
        with suppress(CredentialsError):
            return self._origin(self.find(False))
        return Origin(scope=self.endpoint.scope)

    def published(self) -> Published:
        """Read what the issuer publishes about itself; nothing if its address is invalid."""
        with suppress(GrantError):
            self.endpoint.check()
            return read_published(self.endpoint.issuer, self.client)
        return Published()

    def _origin(self, credentials: Credentials) -> Origin:
        return Origin(username=credentials.username, client_id=credentials.client_id, scope=self.endpoint.scope)
