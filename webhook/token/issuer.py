"""Reads what an issuer publishes about itself: its name and its keys (OpenID Connect Discovery 1.0)."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx


class Published(NamedTuple):
    """An issuer's name in its tokens, and the ids of its keys; empty if they could not be read."""

    issuer: str = ""
    key_ids: frozenset[str] = frozenset()


def read_published(address: str, client: httpx.Client) -> Published:
    """Read the discovery document of the issuer at an address, and its keys. Raises nothing."""
    document = read_discovery(address, client) or {}
    name, jwks_uri = document.get("issuer"), document.get("jwks_uri")
    keys = (_get(client, jwks_uri) or {}).get("keys") if isinstance(jwks_uri, str) else None
    ids = [key.get("kid") for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    return Published(
        issuer=name if isinstance(name, str) else "",
        key_ids=frozenset(kid for kid in ids if isinstance(kid, str)),
    )


def read_discovery(address: str, client: httpx.Client) -> dict[str, Any] | None:
    """Return the discovery document of the issuer at an address; None if it cannot be read."""
    return _get(client, f"{address.rstrip('/')}/.well-known/openid-configuration")


def _get(client: httpx.Client, url: str) -> dict[str, Any] | None:
    try:
        answer = client.get(url, headers={"Accept": "application/json"}, follow_redirects=True)
        content = answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
