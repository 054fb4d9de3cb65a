"""Checks whether an oauth2-proxy is in front of a server, whether it accepts the token, and if not, why.

The proxy's answers were observed with oauth2-proxy 7.15.3. It answers every invalid token in the same way. So this
module reads the token itself, then the proxy's redirect to the sign-in (webhook.doctor.sign_in), which names its client
id, then the issuer's keys. The header `GAP-Auth` distinguishes MLflow's answers from the proxy's own.
"""

from __future__ import annotations

from datetime import datetime

from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.doctor.issuer import Signature, judge_signature
from webhook.doctor.probe import ANY, INFO, Answer, Prober, Target
from webhook.doctor.refusals import Refusal, find_refusal, is_bare, is_not_allowed
from webhook.doctor.remedies import VERIFY_ADDRESS, issuer_in
from webhook.doctor.sign_in import (
    IssuerComparison,
    SignIn,
    compare_issuer,
    find_sign_in,
    is_sign_in_page,
    sign_in_of,
    trusted_issuer,
)
from webhook.token.claims import Claims, NotATokenError, problem_of, read_claims
from webhook.token.problems import TokenProblem

TOKEN = "proxy-accepts-token"  # noqa: S105 - the name of a check
_NOT_CHECKED = "the proxy lets requests to MLflow's API through without a token (--skip-auth-route, --trusted-ip)"
_LOG = "The proxy's log says why."
_CLIENT_ID, _ISSUER = "the proxy's client id", "the issuer that the proxy trusts"
"""The proxy's settings that cannot always be compared with a token."""


def find_proxy(prober: Prober, target: Target) -> bool:
    """Return whether there is a proxy in front of the server. Raises httpx.RequestError.

    The proxy answers /ping, which MLflow does not have. If only the server's paths are routed to the proxy, it
    redirects a browser without a token to the sign-in.
    """
    ping = prober.send("GET", "/ping", identified=False)
    if ping.status == 200 and ping.text.strip() == "OK":
        return True
    auth = prober.send("GET", "/oauth2/auth", identified=False)
    refused = auth.status in {401, 403} and not find_refusal(auth, target, proxy=True)
    if (refused or auth.status == 202) and (auth.status, auth.text) != (ping.status, ping.text):
        return True  # something else refuses every path in the same way, such as MLflow's check of the Host header
    front = prober.send("GET", "/", identified=False, accept=ANY)
    return is_sign_in_page(front) or bool(sign_in_of(front).client_id)


def check_token(prober: Prober, target: Target, *, now: datetime) -> Finding:
    """Check that the proxy accepts the token, and find out why if it does not. Raises httpx.RequestError."""
    if target.token is None:
        if _is_let_through(prober.send("GET", INFO)):
            return passed(TOKEN, _NOT_CHECKED)
        sentence = f"There is no token to send. {_seen(prober, target)}"
        return failed(TOKEN, "token_missing", sentence, _refresh(prober, target))
    auth = prober.send("GET", "/oauth2/auth")
    if auth.status == 202:
        return _identity(auth, target.token)
    answer = prober.send("GET", INFO)
    if auth.status in {401, 403} and _is_let_through(answer):
        return passed(TOKEN, _NOT_CHECKED)
    if auth.status in {401, 403} or _is_refusal(answer):
        problem = problem_of(target.token, now=now, allow_unverified_email=True)
        if problem:
            cause = Refusal(f"token_{problem}", problem.sentence, _refresh(prober, target))
        elif refusal := find_refusal(answer, target, proxy=True):
            return failed(TOKEN, *refusal)
        else:
            cause = _cause(prober, target, target.token, answer)
        return failed(TOKEN, cause.code, f"{cause.sentence} {_seen(prober, target)}", cause.remedy)
    if answer.identity:
        return _identity(answer, target.token)
    return skipped(TOKEN, f"/oauth2/auth is not routed to the proxy ({auth.status}), but no request was refused")


def _refresh(prober: Prober, target: Target) -> str:
    """Return the command that gets a new token: from the proxy's issuer where nothing in the namespace names one."""
    named = issuer_in(target.token) or target.job.issuer
    return target.refresh(issuer=None if named else trusted_issuer(prober, find_sign_in(prober)) or None)


def _cause(prober: Prober, target: Target, token: str, answer: Answer) -> Refusal:
    claims = read_claims(token)
    sign_in = find_sign_in(prober)
    issuer = compare_issuer(prober, claims.issuer, sign_in)
    if sign_in.client_id and sign_in.client_id not in claims.audience:
        return _other_audience(claims, sign_in, target, issuer)
    if issuer.same is False:
        where = f"trusts {issuer.trusted}" if issuer.trusted else f"signs people in at {sign_in.address or 'another'}"
        return Refusal(
            "token_other_issuer",
            f"The token is from {claims.issuer or 'an issuer that it does not name'}; the proxy {where}.",
            f"Get a token there: {target.refresh(force=True, issuer=issuer.trusted)}",
        )
    unknown = [] if sign_in.client_id else [_CLIENT_ID]
    unknown += [] if issuer.same else [_ISSUER]
    return _email(claims) or _not_allowed(answer, claims) or _signature(prober, token, claims, target, unknown)


def _other_audience(claims: Claims, sign_in: SignIn, target: Target, issuer: IssuerComparison) -> Refusal:
    trusted = issuer.trusted if issuer.same is False else None
    command = target.refresh(force=True, issuer=trusted, audience=sign_in.client_id)
    return Refusal(
        "token_other_audience",
        f"The token is for {', '.join(claims.audience) or 'nobody'}; the proxy accepts tokens for {sign_in.client_id}.",
        f"Add the token's audience to the proxy's --oidc-extra-audience, or get a token with the client id "
        f"{sign_in.client_id} in your credentials: {command}",
    )


def _email(claims: Claims) -> Refusal | None:
    if claims.email_verified is not False:
        return None
    problem = TokenProblem.EMAIL_NOT_VERIFIED
    return Refusal(f"token_{problem}", problem.sentence, VERIFY_ADDRESS)


def _not_allowed(answer: Answer, claims: Claims) -> Refusal | None:
    if not is_not_allowed(answer):
        return None
    groups = f"The token's groups: {', '.join(claims.groups)}." if claims.groups else "The token names no groups."
    return Refusal(
        "identity_not_allowed",
        f"The token is valid, but the proxy does not allow {claims.owner or 'its user'}. {groups}",
        "See the proxy's --email-domain and --allowed-group. Groups are only in a token with the scope groups.",
    )


def _signature(prober: Prober, token: str, claims: Claims, target: Target, unknown: list[str]) -> Refusal:
    """Return what the signature shows. `unknown`: the proxy's settings that could not be compared with the token."""
    issuer = claims.issuer
    signature, why = judge_signature(prober, token, issuer)
    force = target.refresh(force=True)
    audience = ", ".join(claims.audience) or "nobody"
    token_is = f"The token is for {audience}, from {issuer or 'an issuer that it does not name'}."
    not_compared = f" {token_is} Could not be compared: {' and '.join(unknown)}." if unknown else ""
    match signature:
        case Signature.UNKNOWN_KEY:
            return Refusal(
                "token_key_unknown",
                f"{issuer} does not have the key that this token names: it lost its keys, or another Dex signed it.",
                f"{force}   # with the storage memory, Dex makes new keys when it restarts",
            )
        case Signature.WRONG:
            return Refusal(
                "token_signature_wrong",
                f"No key of {issuer} made this token's signature: the token was changed, or comes from elsewhere.",
                force,
            )
        case Signature.ISSUER_DOWN:
            return Refusal(
                "issuer_down",
                f"The keys of the token's issuer cannot be read, so the proxy cannot verify it: {why}.{not_compared}",
                f"Check that Dex is running and that the proxy can reach it.{_other_issuer(target, unknown)}",
            )
        case Signature.GOOD if not unknown:
            return Refusal(
                "bearer_not_accepted",
                "The proxy refuses a token with the right audience and issuer, signed with its issuer's key: either "
                "the proxy does not accept bearer tokens, or it has not fetched that key yet.",
                f"Start the proxy with --skip-jwt-bearer-tokens. {_LOG}",
            )
        case Signature.GOOD:
            found = "It has not expired, and its issuer's key signed it."
        case Signature.NOT_LOOKED_AT:
            found = f"It has not expired. Its signature could not be verified from here: {why}."
    flags = ["--client-id (or --oidc-extra-audience)"] if _CLIENT_ID in unknown else []
    flags += ["--oidc-issuer-url"] if _ISSUER in unknown else []
    compare = f"Compare the token with the proxy's {' and '.join(flags)}. " if flags else ""
    return Refusal(
        "bearer_refused",
        f"The proxy refuses the token. {found}{not_compared or f' {token_is} The proxy accepts both.'}",
        f"{compare}Check that the proxy runs with --skip-jwt-bearer-tokens, and that Dex still has the key. {_LOG}",
    )


def _other_issuer(target: Target, unknown: list[str]) -> str:
    """Return a sentence about what to do if the proxy trusts another issuer; empty if it trusts the same one."""
    if _ISSUER not in unknown:
        return ""
    return (
        f" If the proxy's --oidc-issuer-url is another one, get a token there: {target.refresh(force=True, issuer='')}"
    )


def _is_let_through(answer: Answer) -> bool:
    """Return whether this is MLflow's answer to somebody whom the proxy does not know."""
    return answer.status == 200 and isinstance(answer.json, dict) and not answer.identity


def _is_refusal(answer: Answer) -> bool:
    return not answer.identity and (
        answer.status in {401, 403} or bool(sign_in_of(answer).address) or is_sign_in_page(answer)
    )


def _seen(prober: Prober, target: Target) -> str:
    """Return the answer that MLflow's client gets, in words. The client accepts any content type."""
    answer = prober.send("GET", INFO, accept=ANY)
    if is_sign_in_page(answer):
        what = "a sign-in page (403)"
    elif sign_in_of(answer).address:
        what = f"a redirect to the sign-in ({answer.status})"
    elif is_bare(answer):
        what = "401 without a message"
    elif answer.status == 403 and not find_refusal(answer, target, proxy=True):
        what = "403 Forbidden"
    else:
        what = answer.summary()
    return f"MLflow's client sees {what}."


def _identity(answer: Answer, token: str) -> Finding:
    try:
        owner = read_claims(token).owner
    except NotATokenError:
        owner = ""
    if answer.identity and owner and answer.identity != owner:
        return warned(
            TOKEN,
            "another_identity",
            f"The proxy identifies you as {answer.identity}, but the token says {owner}.",
            "MLflow records the user that the proxy names. Request the scope email when you mint the token.",
        )
    return passed(TOKEN, f"the proxy identifies you as {answer.identity or owner or 'a user without a name'}")
