"""Keeps the token in a Secret fresh: reads it, mints and checks a new one when it is time, and replaces it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from webhook.cluster.kube import KubeClient, KubeError, KubeNotFoundError, core_path
from webhook.core.values import SecretKey
from webhook.token.claims import Claims, NotATokenError, problem_of, read_claims
from webhook.token.durations import format_duration
from webhook.token.issuer import Published
from webhook.token.origin import EXPIRES, MINTED, OWNER, SCOPE, USERNAME, Origin, find_mismatch
from webhook.token.problems import TokenProblem

EXPIRES_SOON = 0.75
"""The share of a token's life after which a failed refresh writes an event."""


class RefreshError(Exception):
    """The token was not replaced. The old one stays."""


class Outcome(StrEnum):
    """What a refresh did."""

    KEPT = "kept"
    CREATED = "created"
    RENEWED = "renewed"


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The outcome, the claims of the token that is in the Secret now, and why."""

    outcome: Outcome
    claims: Claims
    why: str


class Minter(Protocol):
    """Mints tokens with some settings."""

    def mint(self) -> tuple[str, Origin]:
        """Mint a token. Return it and its settings. Raises GrantError, CredentialsError."""

    def settings(self) -> Origin:
        """Return the settings for a token, as far as they are known without a prompt."""

    def published(self) -> Published:
        """Read what the issuer publishes about itself."""


@dataclass(frozen=True)
class Stored:
    """What a Secret holds: the token, and the annotations on the Secret."""

    token: str = field(repr=False)
    annotations: Mapping[str, str]


class TokenSecret:
    """One key of a Secret. Nothing else in the Secret is touched."""

    def __init__(self, client: KubeClient, *, namespace: str, secret: SecretKey) -> None:
        self._client, self.namespace, self.secret = client, namespace, secret
        self.place = f"Secret {namespace}/{secret.name}, key {secret.key}"

    def read(self) -> Stored | None:
        """Return what is stored; None if the Secret or the key does not exist. Raises KubeError."""
        try:
            found = self._client.get(self._path(self.secret.name))
        except KubeNotFoundError:
            return None
        encoded = (found.get("data") or {}).get(self.secret.key)
        if encoded is None:
            return None
        try:
            # bytes that are not text become a text that is not a token, which is another problem than an empty token
            token = b64decode(encoded).decode(errors="replace")
        except Base64Error:
            token = ""
        return Stored(token, (found.get("metadata") or {}).get("annotations") or {})

    def write(self, token: str, claims: Claims, origin: Origin, *, now: datetime) -> None:
        """Store a token, with annotations about its owner, its expiry and its settings. Raises KubeError."""
        body: dict[str, Any] = {
            "metadata": {
                "annotations": {
                    MINTED: _stamp(now),
                    EXPIRES: _stamp(claims.expires),
                    OWNER: claims.owner,
                    USERNAME: origin.username,
                    SCOPE: origin.scope,
                }
            },
            "data": {self.secret.key: b64encode(token.encode()).decode()},
        }
        try:
            self._client.patch(self._path(self.secret.name), body)
        except KubeNotFoundError:
            named = {**body["metadata"], "name": self.secret.name}
            self._client.create(self._path(), {**body, "metadata": named})

    def warn(self, message: str, *, now: datetime) -> None:
        """Write a Warning event about the Secret, which alerts can see. Raises KubeError."""
        reference = {
            "apiVersion": "v1",
            "kind": "Secret",
            "namespace": self.namespace,
            "name": self.secret.name,
        }
        event = {
            "metadata": {"generateName": f"{self.secret.name}-"},
            "involvedObject": reference,
            "type": "Warning",
            "reason": "TokenNearItsEnd",
            "message": message[:1000],
            "source": {"component": "mlflow-webhook"},
            "firstTimestamp": _stamp(now),
            "lastTimestamp": _stamp(now),
            "count": 1,
        }
        self._client.create(core_path(self.namespace, "events"), event)

    def _path(self, name: str = "") -> str:
        return core_path(self.namespace, "secrets", name)


def refresh(
    secret: TokenSecret,
    minter: Minter,
    *,
    clock: Callable[[], datetime],
    audience: str | None = None,
    allow_unverified_email: bool = False,
    after: float = 0.5,
    force: bool = False,
) -> Refreshed:
    """Replace the token if it is time.

    It is time when the share `after` of its life has passed, if something is wrong with it, or if the current settings
    cannot have minted it. Raises what `minter` does, RefreshError for an invalid new token, and KubeError. The old
    token then stays.
    """

    def problem_now(token: str) -> TokenProblem | None:
        return problem_of(token, now=clock(), audience=audience, allow_unverified_email=allow_unverified_email)

    present = secret.read()
    why = "a new one was requested" if force else _why(present, problem_now, minter, now=clock(), after=after)
    if why is None and present is not None:
        return Refreshed(outcome=Outcome.KEPT, claims=read_claims(present.token), why="it is still fresh")
    token, origin = minter.mint()
    if problem := problem_now(token):
        raise RefreshError(f"the new token is not used: {problem.sentence}")
    claims = read_claims(token)
    if claims.expires is None:
        raise RefreshError("the new token is not used: it does not say when it expires")
    secret.write(token, claims, origin, now=clock())
    return Refreshed(outcome=Outcome.CREATED if present is None else Outcome.RENEWED, claims=claims, why=why or "")


def expires_soon(secret: TokenSecret, *, now: datetime) -> str | None:
    """Return a sentence if the token in a Secret expires soon or is not valid; None otherwise."""
    try:
        present = secret.read()
    except KubeError:
        return None
    if present is None:
        return "The Secret has no token yet."
    try:
        claims = read_claims(present.token)
    except NotATokenError as error:
        return f"The token in the Secret cannot be used: {error}"
    age, left = claims.age(now), claims.left(now)
    ended = left is not None and left <= timedelta(0)
    if left is None or not (ended or (age is not None and age >= EXPIRES_SOON)):
        return None
    return (
        f"The token in the Secret expires in {format_duration(left)}."
        if left > timedelta(0)
        else f"The token in the Secret expired {format_duration(-left)} ago."
    )


def _why(
    present: Stored | None,
    problem_now: Callable[[str], TokenProblem | None],
    minter: Minter,
    *,
    now: datetime,
    after: float,
) -> str | None:
    if present is None:
        return "the Secret had no token"
    if problem := problem_now(present.token):
        return "the old one is not valid: " + problem.sentence.rstrip(".")
    claims = read_claims(present.token)
    age = claims.age(now)
    if age is None:
        return "the old one does not say when it was issued, or when it expires"
    if age >= after:
        return f"{age:.0%} of the old one's life had passed"
    changed = find_mismatch(
        claims, minter.settings(), minter.published(), present.annotations, expires=_stamp(claims.expires)
    )
    return f"the old one does not match the current settings: {changed}" if changed else None


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
