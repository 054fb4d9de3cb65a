"""Checks whether the current settings could have minted a token. After a change of issuer, user or client, it must be
replaced.

The issuer's name comes from its discovery document, because it may be reached at another address. The user name can
differ from the e-mail address in the token, so it is compared with the user name that was recorded when the token was
minted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from webhook.core.names import ANNOTATION_GROUP
from webhook.token.claims import Claims
from webhook.token.issuer import Published

MINTED, EXPIRES, OWNER, USERNAME, SCOPE = (
    f"{ANNOTATION_GROUP}/token-{name}" for name in ("minted", "expires", "owner", "username", "scope")
)
"""Annotations on the Secret, for people and for alerts. None of them contains the token or a password."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The settings for minting a token. Empty: not known."""

    username: str = ""
    client_id: str = ""
    scope: str = ""


def find_mismatch(
    claims: Claims, settings: Origin, published: Published, annotations: Mapping[str, str], *, expires: str
) -> str | None:
    """Return a clause that says why the current settings cannot have minted a token; None if they can.

    `annotations` are those of the Secret. They count only if they have the token's owner and `expires`.
    """
    if published.issuer and claims.issuer != published.issuer:
        return f"it is from {claims.issuer or 'an unknown issuer'}, and the issuer now is {published.issuer}"
    if published.key_ids and claims.key_id and claims.key_id not in published.key_ids:
        return f"{claims.issuer or 'the issuer'} no longer has the key that signed it"
    if settings.client_id and settings.client_id not in {*claims.audience, claims.authorized_party}:
        return f"it was minted for another client than {settings.client_id}"
    recorded = annotations if (annotations.get(OWNER), annotations.get(EXPIRES)) == (claims.owner, expires) else {}
    if _is_another_user(claims, settings.username, recorded.get(USERNAME)):
        return f"it is {claims.owner or 'another user'}'s, and the user name now is {settings.username}"
    if _is_another_scope(claims, settings.scope, recorded.get(SCOPE)):
        return f"the scope now is {settings.scope!r}"
    return None


def _is_another_user(claims: Claims, username: str, recorded: str | None) -> bool:
    if not username:
        return False
    if recorded is not None:
        return username.casefold() != recorded.casefold()
    return "@" in username and bool(claims.email) and username.casefold() != claims.email.casefold()


def _is_another_scope(claims: Claims, scope: str, recorded: str | None) -> bool:
    if recorded is not None:
        return set(scope.split()) != set(recorded.split())
    return "email" in scope.split() and not claims.email
