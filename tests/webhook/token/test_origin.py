"""Which tokens the current settings can have minted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from webhook.token.claims import Claims
from webhook.token.issuer import Published
from webhook.token.origin import EXPIRES, OWNER, SCOPE, USERNAME, Origin, find_mismatch

CLAIMS = Claims(
    email="alice@example.com", subject="CiQw", audience=("mlflow",), issuer="http://dex/dex", key_id="1", complete=True
)
SETTINGS = Origin(username="alice@example.com", client_id="mlflow", scope="openid email groups")
PUBLISHED = Published("http://dex/dex", frozenset({"1", "2"}))
END = "2026-06-01T00:00:00Z"
RECORDED = {OWNER: "alice@example.com", EXPIRES: END, USERNAME: "al", SCOPE: "openid email"}


def why(
    claims: Claims = CLAIMS,
    settings: Origin = SETTINGS,
    published: Published = PUBLISHED,
    annotations: dict[str, str] | None = None,
) -> str | None:
    return find_mismatch(claims, settings, published, annotations or {}, expires=END)


SAME: dict[str, dict[str, Any]] = {
    "everything": {},
    "another case of the address": {"settings": replace(SETTINGS, username="Alice@Example.COM")},
    "a client that asked for another's audience": {
        "claims": replace(CLAIMS, audience=("proxy",), authorized_party="mlflow")
    },
    "an issuer that cannot be read": {
        "claims": replace(CLAIMS, issuer="http://x", key_id="9"),
        "published": Published(),
    },
    "a token that names no key": {"claims": replace(CLAIMS, key_id="")},
    "credentials that are not known": {"settings": Origin(scope="openid email groups")},
    "a user name that is not an address": {"settings": replace(SETTINGS, username="alice")},
    "the recorded user and scope": {
        "settings": replace(SETTINGS, username="al", scope="email openid"),
        "annotations": RECORDED,
    },
    "a recorded scope that gave no address": {
        "claims": replace(CLAIMS, email=""),
        "annotations": {**RECORDED, OWNER: "CiQw", USERNAME: "alice@example.com", SCOPE: SETTINGS.scope},
    },
    "no scope for the address": {
        "claims": replace(CLAIMS, email=""),
        "settings": replace(SETTINGS, scope="openid"),
    },
}
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "the issuer": ({"claims": replace(CLAIMS, issuer="http://old/dex")}, "from http://old/dex, and the issuer now is"),
    "no issuer": ({"claims": replace(CLAIMS, issuer="")}, "from an unknown issuer"),
    "the key": ({"claims": replace(CLAIMS, key_id="3")}, "http://dex/dex no longer has the key"),
    "the client": ({"settings": replace(SETTINGS, client_id="notebook")}, "another client than notebook"),
    "the user": (
        {"settings": replace(SETTINGS, username="bob@example.com")},
        "alice@example.com's, and the user name now is bob@example.com",
    ),
    "the recorded user": ({"settings": replace(SETTINGS, scope="openid email"), "annotations": RECORDED}, "name now"),
    "the scope": ({"settings": replace(SETTINGS, username="al"), "annotations": RECORDED}, "the scope now is"),
    "no address": ({"claims": replace(CLAIMS, email="")}, "the scope now is 'openid email groups'"),
    "a record of another token": (
        {"settings": replace(SETTINGS, username="bob@example.com"), "annotations": {**RECORDED, EXPIRES: ""}},
        "user name now is bob",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_token_that_the_settings_can_have_minted_is_kept(name: str) -> None:
    assert why(**SAME[name]) is None


@pytest.mark.parametrize("name", CHANGED)
def test_a_token_that_they_cannot_have_minted_is_replaced_with_a_reason(name: str) -> None:
    case, words = CHANGED[name]
    assert words in (why(**case) or "")
