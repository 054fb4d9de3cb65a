"""Keeps the token in a Secret fresh: reads it, mints a new one when it is time, checks that, and then replaces it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from webhook.cluster.kube import KubeClient, KubeError, KubeNotFoundError, core_path
from webhook.core.configuration import SecretKey
from webhook.core.names import ANNOTATION_GROUP
from webhook.token.claims import Claims, NotATokenError, problem_of, read_claims
from webhook.token.durations import format_duration
from webhook.token.problems import TokenProblem

MINTED, EXPIRES, OWNER = (f"{ANNOTATION_GROUP}/token-{name}" for name in ("minted", "expires", "owner"))
"""Annotations on the Secret, for people and for alerts. None of them holds the token."""
EXPIRES_SOON = 0.75
"""The share of a token's life after which a failed refresh is worth an event."""


class RefreshError(Exception):
    """The token was not replaced, and the old one is still in place."""


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


class TokenSecret:
    """One key of a Secret. Nothing else in the Secret is touched."""

    def __init__(self, client: KubeClient, *, namespace: str, secret: SecretKey) -> None:
        self._client, self.namespace, self.secret = client, namespace, secret
        self.place = f"Secret {namespace}/{secret.name}, key {secret.key}"

    def read(self) -> str | None:
        """Give the token; None when there is no such Secret or key. Raises KubeError."""
        try:
            found = self._client.get(self._path(self.secret.name))
        except KubeNotFoundError:
            return None
        encoded = (found.get("data") or {}).get(self.secret.key)
        if encoded is None:
            return None
        try:
            # bytes that are no text give a text that is no token: another fault than an empty one
            return b64decode(encoded).decode(errors="replace")
        except Base64Error:
            return ""

    def write(self, token: str, claims: Claims, *, now: datetime) -> None:
        """Put a token in, with annotations that say when it ends. Raises KubeError."""
        body: dict[str, Any] = {
            "metadata": {
                "annotations": {
                    MINTED: _stamp(now),
                    EXPIRES: _stamp(claims.expires) if claims.expires else "",
                    OWNER: claims.owner,
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
    mint: Callable[[], str],
    *,
    clock: Callable[[], datetime],
    audience: str | None = None,
    allow_unverified_email: bool = False,
    after: float = 0.5,
    force: bool = False,
) -> Refreshed:
    """Replace the token if it is time: when the share `after` of its life is gone, or something is wrong with it.

    Raises GrantError (from `mint`), RefreshError for a token that is not good, KubeError; the old one is then in place.
    """

    def problem_now(token: str) -> TokenProblem | None:
        return problem_of(token, now=clock(), audience=audience, allow_unverified_email=allow_unverified_email)

    present = secret.read()
    why = "asked for" if force else _why(present, problem_now, now=clock(), after=after)
    if why is None:
        return Refreshed(outcome=Outcome.KEPT, claims=read_claims(present or ""), why="it is fresh enough")
    token = mint()
    if problem := problem_now(token):
        raise RefreshError(f"the token that was minted is not used: {problem.sentence}")
    claims = read_claims(token)
    if claims.expires is None:
        raise RefreshError("the token that was minted is not used: it does not say when it ends")
    secret.write(token, claims, now=clock())
    return Refreshed(outcome=Outcome.CREATED if present is None else Outcome.RENEWED, claims=claims, why=why)


def expires_soon(secret: TokenSecret, *, now: datetime) -> str | None:
    """Say in words that the token in a Secret ends soon or has ended; None when it is good for a while."""
    try:
        present = secret.read()
        claims = read_claims(present or "")
    except KubeError:
        return None
    except NotATokenError as error:
        return f"There is no usable token: {error}"
    age, left = claims.age(now), claims.left(now)
    ended = left is not None and left <= timedelta(0)
    if left is None or not (ended or (age is not None and age >= EXPIRES_SOON)):
        return None
    return (
        f"The token ends in {format_duration(left)}."
        if left > timedelta(0)
        else f"The token ended {format_duration(-left)} ago."
    )


def _why(
    present: str | None, problem_now: Callable[[str], TokenProblem | None], *, now: datetime, after: float
) -> str | None:
    if present is None:
        return "there is no token yet"
    if problem := problem_now(present):
        return "the present one is not good: " + problem.sentence
    age = read_claims(present).age(now)
    if age is None:
        return "the present one does not say how long it is good"
    return f"{age:.0%} of its life is gone" if age >= after else None


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
