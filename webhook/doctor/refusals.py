"""Recognises refusals from something other than oauth2-proxy and MLflow's API: a mesh, a gateway, a password.

Envoy's texts are those of its filters for JWTs and RBAC, which Istio and Envoy Gateway configure (``getStatusString``
in ``source/common/jwt/status.cc``, and ``RBAC: access denied``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from webhook.doctor.findings import Finding, failed
from webhook.doctor.probe import Answer, Target
from webhook.doctor.sign_in import is_sign_in_page
from webhook.token.claims import NotATokenError, read_claims

_ENVOY_TOKEN = re.compile(r"(Jwt|Jwks|Audiences in Jwt) ")
_ENVOY_RULES = re.compile(r"Jwt issuer is not configured|Audiences in Jwt|Jwks (?!doesn't have key)")
"""Texts about the gateway's own rules and keys. Another token of the same issuer does not help."""
_BASIC = re.compile(r"(?:^|,)\s*Basic\b", re.IGNORECASE)
_BEARER = re.compile(r"(?:^|,)\s*Bearer\b", re.IGNORECASE)
_BARE = {"", "{}", "unauthorized"}
"""Texts of a 401 without information."""
_MLFLOW = ("Invalid Host header", "Cross-origin request blocked", "Permission denied")


class Refusal(NamedTuple):
    """A code, a sentence, and what to do."""

    code: str
    sentence: str
    remedy: str


def find_refusal(answer: Answer, target: Target, *, proxy: bool = False) -> Refusal | None:
    """Return what refused a request, if it was not MLflow's API (and with `proxy`, not oauth2-proxy)."""
    if answer.status not in {401, 403} or answer.error_code:
        return None
    if _BASIC.search(answer.challenge) and not _BEARER.search(answer.challenge):
        return _password(target)
    text = answer.text.strip()
    if _ENVOY_TOKEN.match(text):
        return _envoy_token(answer, target)
    if text.startswith("RBAC: access denied"):
        return Refusal(
            "refused_by_another",
            f"A mesh or gateway in front of MLflow denies the request: {answer.summary()}",
            f"With Istio, a rule must allow the pods of {target.namespace}: "
            "kubectl get authorizationpolicies --all-namespaces",
        )
    own = is_bare(answer) or text.startswith(_MLFLOW) or (proxy and _is_of_the_proxy(answer))
    if answer.identity or own:
        return None
    return Refusal(
        "refused_by_another",
        f"Something other than oauth2-proxy and MLflow's API refuses the request: {answer.summary()}",
        "Look for a mesh, a gateway or a firewall in front of the server, or a plugin for MLflow's authentication."
        + (f" If its answer is about the token: {target.refresh(force=True)}" if answer.status == 401 else ""),
    )


def is_bare(answer: Answer) -> bool:
    """Return whether this is a 401 without a cause."""
    return answer.status == 401 and answer.text.strip().lower() in _BARE


def is_not_allowed(answer: Answer) -> bool:
    """Return whether this is the proxy's page for a valid token whose user it does not allow, or its JSON answer."""
    page = "<title>403 Forbidden</title>" in answer.text and "<center>nginx" not in answer.text
    return answer.status == 403 and not answer.identity and (page or answer.json == {})


def unexpected(check: str, answer: Answer, target: Target) -> Finding:
    """Return a finding with the beginning of an unknown answer; for a refusal, with what refused it."""
    if refusal := find_refusal(answer, target):
        return failed(check, *refusal)
    return failed(check, "unexpected_answer", f"Unexpected answer: {answer.summary()}", "Read the server's log.")


def _is_of_the_proxy(answer: Answer) -> bool:
    return is_sign_in_page(answer) or is_not_allowed(answer) or answer.text == "Forbidden\n"


def _password(target: Target) -> Refusal:
    return Refusal(
        "basic_auth_required",
        "The server requires a user name and a password (401 with WWW-Authenticate: Basic). A token does not help.",
        "Use a server that accepts tokens, such as one behind an oauth2-proxy. Otherwise set MLFLOW_TRACKING_URI, "
        f"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the pods of {target.namespace} yourself; the "
        "webhook then adds no token.",
    )


def _envoy_token(answer: Answer, target: Target) -> Refusal:
    rules = "kubectl get requestauthentications --all-namespaces -o yaml"
    try:
        claims = read_claims(target.token or "")
    except NotATokenError:
        token_is = ""
    else:
        audience = ", ".join(claims.audience) or "nobody"
        token_is = f" The token is for {audience}, from {claims.issuer or 'an issuer that it does not name'}."
    if _ENVOY_RULES.match(answer.text.strip()):
        remedy = (
            f"With Istio, a rule must contain the token's issuer, its audience and the address of its keys: {rules}"
        )
    else:
        remedy = f"{target.refresh(force=True)}   # if that does not help, with Istio: {rules}"
    return Refusal(
        "refused_by_another",
        f"A mesh or gateway in front of MLflow refuses the token: {answer.summary()}.{token_is}",
        remedy,
    )
