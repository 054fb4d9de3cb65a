"""Reads the keys of a token's issuer, and verifies that one of them signed the token.

The addresses are those of OpenID Connect Discovery 1.0; Dex's keys are at ``{issuer}/keys`` (observed with Dex 2.45.0).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import httpx
import jwt

from webhook.doctor.forward import UnreachableError
from webhook.doctor.probe import Answer, Prober
from webhook.network import NetworkFault, fault_of

_AT_THE_ISSUER = {NetworkFault.REFUSED, NetworkFault.TIMEOUT, NetworkFault.NOT_HTTP, NetworkFault.OTHER}
"""Faults that every client has. Others, such as an unknown CA, may be only on this machine."""


class Signature(Enum):
    """What is known about a token's signature."""

    GOOD = auto()
    UNKNOWN_KEY = auto()
    """The issuer has no key with the id that the token names."""
    WRONG = auto()
    """The issuer has that key, but the key did not sign this token."""
    ISSUER_DOWN = auto()
    NOT_LOOKED_AT = auto()


class Verdict(NamedTuple):
    """The result of the check of a signature. If it could not be checked: why, as a clause."""

    signature: Signature
    why: str = ""


def judge_signature(prober: Prober, token: str, issuer: str) -> Verdict:
    """Return whether one of an issuer's keys signed a token. `token` must have a JWT's form."""
    url = f"{issuer.rstrip('/')}/keys"
    try:
        document = discover(prober, issuer)
        url = str((document or {}).get("jwks_uri") or url)
        answer = prober.fetch(url)
    except httpx.RequestError as error:
        fault = fault_of(error)
        signature = Signature.ISSUER_DOWN if fault in _AT_THE_ISSUER else Signature.NOT_LOOKED_AT
        return Verdict(signature, fault.sentence(url).rstrip("."))
    except UnreachableError as error:
        return Verdict(Signature.ISSUER_DOWN if error.code else Signature.NOT_LOOKED_AT, str(error))
    return _search(answer, token, url)


def discover(prober: Prober, issuer: str) -> dict[str, object] | None:
    """Return an issuer's discovery document, or None. Raises what `Prober.fetch` does."""
    answer = prober.fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    return answer.json if answer.status == 200 and isinstance(answer.json, dict) else None


def _search(answer: Answer, token: str, url: str) -> Verdict:
    if answer.status != 200 or not isinstance(answer.json, dict):
        return Verdict(Signature.ISSUER_DOWN, f"{url} does not return keys: {answer.summary()}")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        return Verdict(Signature.NOT_LOOKED_AT, f"the token's header cannot be read ({type(error).__name__})")
    keys = answer.json.get("keys")
    wanted = header.get("kid")
    found = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    verdicts = [_signed(token, key, header) for key in found if wanted is None or key.get("kid") == wanted]
    if True in verdicts:
        return Verdict(Signature.GOOD)
    if None in verdicts or not found:
        return Verdict(Signature.NOT_LOOKED_AT, "the keys of the issuer cannot be read")
    return Verdict(Signature.WRONG if verdicts else Signature.UNKNOWN_KEY)


def _signed(token: str, data: dict[str, object], header: dict[str, object]) -> bool | None:
    """Return whether a key signed a token; None for a key that cannot be read."""
    algorithm = str(header.get("alg"))
    try:
        # a key without an algorithm is for every algorithm of its type
        key = jwt.PyJWK(data, algorithm=None if "alg" in data or algorithm.startswith(("HS", "none")) else algorithm)
    except (jwt.PyJWTError, TypeError, ValueError):
        return None
    try:
        jwt.PyJWS().decode(token, key, algorithms=[key.algorithm_name])
    except (jwt.PyJWTError, TypeError, ValueError):
        return False
    return True
