"""What a token says, and what is wrong with it as it stands. Pure; to verify the signature is the server's work.

The shapes are those of Dex's id tokens (observed with Dex 2.45.0): `aud` is a string, `email` and `groups` are there
only with the scopes of those names, and `exp` counts to the second, with no leeway (oauth2-proxy 7.15.3).
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec


class TokenProblem(StrEnum):
    """What can be wrong with a token as it stands; the codes are stable names."""

    EMPTY = "empty"
    WHITE_SPACE = "white_space"
    QUOTES = "quotes"
    BEARER_PREFIX = "bearer_prefix"
    NOT_A_JWT = "not_a_jwt"
    EXPIRED = "expired"
    OTHER_AUDIENCE = "other_audience"
    EMAIL_NOT_VERIFIED = "email_not_verified"

    @property
    def sentence(self) -> str:
        """The problem in words."""
        return _SENTENCES[self]


_SENTENCES = {
    TokenProblem.EMPTY: "The token is empty.",
    TokenProblem.WHITE_SPACE: (
        "There is white space in the token, or a newline at its end: MLflow's client cannot send it. "
        "Write it without (printf '%s', not echo)."
    ),
    TokenProblem.QUOTES: "There are quotation marks around the token; they are not part of it.",
    TokenProblem.BEARER_PREFIX: 'The token begins with "Bearer "; the client adds that word itself.',
    TokenProblem.NOT_A_JWT: "This is not a JSON web token (three parts in base64url, parted by dots).",
    TokenProblem.EXPIRED: "The token has expired.",
    TokenProblem.OTHER_AUDIENCE: "The token was issued for another audience than the one expected.",
    TokenProblem.EMAIL_NOT_VERIFIED: "The token says email_verified: false, which oauth2-proxy refuses by default.",
}


_PART = re.compile(r"[A-Za-z0-9_-]+")
"""Base64url without padding (RFC 7515, 2). Python's decoder skips what does not belong, so it cannot tell."""


class NotATokenError(Exception):
    """A text is not a JWT. `problem` says why; the text is not repeated."""

    def __init__(self, problem: TokenProblem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a token says of itself. Absent claims are empty or None."""

    subject: str = ""
    email: str = ""
    email_verified: bool | None = None
    groups: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    issuer: str = ""
    issued: datetime | None = None
    expires: datetime | None = None

    @property
    def owner(self) -> str:
        """Who runs with this token belong to: the e-mail, or the subject when there is none."""
        return self.email or self.subject

    def left(self, now: datetime) -> timedelta | None:
        """How long it is still good; negative after its end, None when it does not say."""
        return None if self.expires is None else self.expires - now

    def age(self, now: datetime) -> float | None:
        """Which share of its life is gone: 0 when new, 1 at its end; None when it does not say."""
        if self.issued is None or self.expires is None or self.expires <= self.issued:
            return None
        return (now - self.issued) / (self.expires - self.issued)


def form_problem(text: str) -> TokenProblem | None:
    """Say what is wrong with a token's outer form."""
    if not text.strip():
        return TokenProblem.EMPTY
    if text[:7].lower() == "bearer ":
        return TokenProblem.BEARER_PREFIX
    if any(character.isspace() for character in text):
        return TokenProblem.WHITE_SPACE
    if text[0] in "\"'" or text[-1] in "\"'":
        return TokenProblem.QUOTES
    return None


def read_claims(text: str) -> Claims:
    """Read a token's claims. Raises NotATokenError, with the outer form's problem if that is the cause."""
    form = form_problem(text)
    if form in {TokenProblem.EMPTY, TokenProblem.BEARER_PREFIX, TokenProblem.QUOTES}:
        raise NotATokenError(form)
    parts = text.strip().split(".")
    formed = len(parts) == 3 and all(_PART.fullmatch(part) for part in parts)
    claims = _decode(parts[1]) if formed and _decode(parts[0]) is not None else None
    if claims is None:
        raise NotATokenError(form or TokenProblem.NOT_A_JWT)
    return Claims(
        subject=_text(claims.get("sub")),
        email=_text(claims.get("email")),
        email_verified=claims["email_verified"] if isinstance(claims.get("email_verified"), bool) else None,
        groups=_texts(claims.get("groups")),
        audience=_texts(claims.get("aud")),
        issuer=_text(claims.get("iss")),
        issued=_time(claims.get("iat")),
        expires=_time(claims.get("exp")),
    )


def problem_of(
    text: str, *, now: datetime, audience: str | None = None, allow_unverified_email: bool = False
) -> TokenProblem | None:
    """Say the first thing that is wrong with a token, or None; `audience` is what it must be issued for, if given."""
    try:
        claims = read_claims(text)
    except NotATokenError as error:
        return error.problem
    if form := form_problem(text):
        return form
    if claims.expires is not None and claims.expires <= now:
        return TokenProblem.EXPIRED
    if audience and audience not in claims.audience:
        return TokenProblem.OTHER_AUDIENCE
    if claims.email_verified is False and not allow_unverified_email:
        return TokenProblem.EMAIL_NOT_VERIFIED
    return None


def _decode(part: str) -> dict[str, Any] | None:
    try:
        decoded = msgspec.json.decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(item for item in values if isinstance(item, str))


def _time(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
