"""Reads what a token says, and finds what is wrong with it as far as the token itself shows. Pure: no key is fetched.

The shapes are those of Dex's id tokens (observed with Dex 2.45.0): `aud` is a string, `email` and `groups` exist only
with the scopes of the same names. `exp` counts to the second, without leeway (observed with oauth2-proxy 7.15.3).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from webhook.token.problems import TokenProblem
from webhook.token.signatures import is_complete

_PART = re.compile(r"[A-Za-z0-9_-]+")
"""Base64url without padding (RFC 7515, section 2). Python's decoder ignores other characters."""
_QUOTATION_MARKS = frozenset("\"'\u2018\u2019\u201c\u201d")
_INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_BEARER = re.compile(r"(?:authorization:\s*)?bearer\s", re.IGNORECASE)
_PAGE = re.compile(r"\s*<(?:!doctype|\?xml|html|head|body)\b", re.IGNORECASE)
_JSON = re.compile(r"\s*[{\[]+\s*\"")
_MOST_ENCODINGS = 3
_NOT_BEFORE_LEEWAY = timedelta(minutes=5)
"""How far in the future `nbf` may be (go-oidc, by which oauth2-proxy verifies: ``oidc/verify.go``)."""


class NotATokenError(Exception):
    """A text is not a JSON web token. `problem` says why. The message does not repeat the text."""

    def __init__(self, problem: TokenProblem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a token says about itself. Absent claims are empty or None."""

    subject: str = ""
    email: str = ""
    email_verified: bool | None = None
    groups: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    authorized_party: str = ""
    issuer: str = ""
    issued: datetime | None = None
    not_before: datetime | None = None
    expires: datetime | None = None
    key_id: str = ""
    """The id of the issuer's key that signed it (`kid` of the header)."""
    complete: bool = True
    """Whether the signature has a length that is possible for its algorithm."""

    @property
    def owner(self) -> str:
        """Return the owner of runs with this token: the e-mail address, or the subject without one."""
        return self.email or self.subject

    @property
    def is_service_account(self) -> bool:
        """Return whether Kubernetes made it for a ServiceAccount: its issuer is a cluster, and its subject a name."""
        return self.subject.startswith("system:serviceaccount:")

    @property
    def warning(self) -> str | None:
        """Return what a person should know about an otherwise valid token, or None."""
        if self.email or self.is_service_account:
            return None
        owner = f"{self.subject}, the issuer's id for its user, as the owner" if self.subject else "no owner"
        return f"The token has no e-mail address, so MLflow shows {owner} of runs. Request the scope email."

    def left(self, now: datetime) -> timedelta | None:
        """Return the time until it expires, negative afterwards; None if it does not say."""
        return None if self.expires is None else self.expires - now

    def age(self, now: datetime) -> float | None:
        """Return the share of its life that has passed, from 0 (new) to 1 (expired); None if it does not say."""
        if self.issued is None or self.expires is None or self.expires <= self.issued:
            return None
        return (now - self.issued) / (self.expires - self.issued)


def form_problem(text: str) -> TokenProblem | None:
    """Return what is wrong with a token before it is decoded, or None."""
    inner = text.strip()
    if not inner:
        return TokenProblem.EMPTY
    if not _QUOTATION_MARKS.isdisjoint((inner[0], inner[-1])):
        return TokenProblem.QUOTES
    if _BEARER.match(inner):
        return TokenProblem.BEARER_PREFIX
    if _INVISIBLE.search(text):
        return TokenProblem.WHITE_SPACE
    return None


def read_claims(text: str) -> Claims:
    """Read a token's claims. Raises NotATokenError. White space around the token is ignored."""
    form = form_problem(text)
    if form in {TokenProblem.EMPTY, TokenProblem.BEARER_PREFIX, TokenProblem.QUOTES}:
        raise NotATokenError(form)
    parts = text.strip().split(".")
    decoded = _decode_token(parts)
    if decoded is None:
        if form and _decode_token(_INVISIBLE.sub("", text).split(".")) is None:
            form = None  # with white space or without, it is not a token
        raise NotATokenError(_mistaken(text) or form or TokenProblem.NOT_A_JWT)
    header, claims = decoded
    return Claims(
        subject=_text(claims.get("sub")),
        email=_text(claims.get("email")),
        email_verified=claims["email_verified"] if isinstance(claims.get("email_verified"), bool) else None,
        groups=_texts(claims.get("groups")),
        audience=_texts(claims.get("aud")),
        authorized_party=_text(claims.get("azp")),
        issuer=_text(claims.get("iss")),
        issued=_time(claims.get("iat")),
        not_before=_time(claims.get("nbf")),
        expires=_time(claims.get("exp")),
        key_id=_text(header.get("kid")),
        complete=is_complete(parts[2], algorithm=_text(header.get("alg"))),
    )


def problem_of(
    text: str, *, now: datetime, audience: str | None = None, allow_unverified_email: bool = False
) -> TokenProblem | None:
    """Return the first thing that is wrong with a token, or None. `audience`: the expected audience, if given."""
    try:
        claims = read_claims(text)
    except NotATokenError as error:
        return error.problem
    if form := form_problem(text):
        return form
    if not claims.complete:
        return TokenProblem.TRUNCATED
    if claims.expires is not None and claims.expires <= now:
        return TokenProblem.EXPIRED
    if claims.not_before is not None and claims.not_before > now + _NOT_BEFORE_LEEWAY:
        return TokenProblem.NOT_YET_VALID
    if audience and audience not in claims.audience:
        return TokenProblem.OTHER_AUDIENCE
    if claims.email_verified is False and not allow_unverified_email:
        return TokenProblem.EMAIL_NOT_VERIFIED
    return None


def _mistaken(text: str) -> TokenProblem | None:
    """Return what a text is, if it is not a token and can be recognised."""
    if _json_object(text.encode(errors="replace")) is not None:
        return TokenProblem.JSON
    if _PAGE.match(text):
        return TokenProblem.HTML
    if _JSON.match(text):  # such as the beginning of a token endpoint's answer
        return TokenProblem.JSON
    if _is_encoded(text):
        return TokenProblem.BASE64
    parts = text.strip().split(".")
    header = _header(parts)
    ends_early = len(parts) == 2 or (len(parts) == 3 and not parts[2])
    if header is not None and ends_early and _text(header.get("alg")).lower() not in {"", "none"}:
        return TokenProblem.TRUNCATED
    return None


def _is_encoded(text: str) -> bool:
    """Return whether a text is the base64 of a token, or of an answer with a token in it."""
    for _ in range(_MOST_ENCODINGS):
        try:  # `base64` without -w0 breaks its lines
            text = b64decode("".join(text.split()), validate=True).decode()
        except (binascii.Error, ValueError):
            return False
        if _header(text.strip().split(".")) is not None or "id_token" in (_json_object(text.encode()) or {}):
            return True
    return False


def _decode_token(parts: list[str]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a token's header and claims, or None if it does not have the form of one."""
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        return None
    header, claims = _decode(parts[0]), _decode(parts[1])
    return None if header is None or claims is None else (header, claims)


def _header(parts: list[str]) -> dict[str, Any] | None:
    return _decode(parts[0]) if len(parts) > 1 and _PART.fullmatch(parts[0]) else None


def _decode(part: str) -> dict[str, Any] | None:
    try:
        return _json_object(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return None


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        decoded = msgspec.json.decode(content)
    except (ValueError, RecursionError):
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
