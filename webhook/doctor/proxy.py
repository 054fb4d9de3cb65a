"""Is there an oauth2-proxy before a server, does it take the token, and if not, why?

What it answers was observed with oauth2-proxy 7.15.3. It tells every caller the same, whatever is wrong with a token;
so the token itself is read, then the proxy's own redirect to the sign-in, which names the issuer and client id that it
trusts, and then the issuer's keys. A header `GAP-Auth` tells the answers that came through it from its own.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qs

import httpx

from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.doctor.forward import UnreachableError
from webhook.doctor.issuer import Signature, discover, judge_signature
from webhook.doctor.probe import ANY, INFO, Answer, Prober, Target
from webhook.network import split_url
from webhook.token.claims import Claims, NotATokenError, TokenProblem, problem_of, read_claims

TOKEN = "proxy-accepts-token"  # noqa: S105 - the name of a check
_ADMIN = "The proxy's log says why."


def find_proxy(prober: Prober) -> bool:
    """Whether a proxy stands before the server.

    It answers /ping itself, which MLflow does not know; where only the server's own paths are routed to it, it sends a
    browser that has no token to its sign-in. Raises httpx.RequestError.
    """
    ping = prober.send("GET", "/ping", identified=False)
    if ping.status == 200 and ping.text.strip() == "OK":
        return True
    auth = prober.send("GET", "/oauth2/auth", identified=False)
    if auth.status in {202, 401, 403} and (auth.status, auth.text) != (ping.status, ping.text):
        return True  # what refuses every path alike is something else, such as MLflow's check of the Host header
    front = prober.send("GET", "/", identified=False, accept=ANY)
    return _is_sign_in_page(front) or bool(_sign_in_of(front).client_id)


def check_token(prober: Prober, target: Target, *, now: datetime) -> Finding:
    """Check that the proxy lets the token through, and find out why if it does not. Raises httpx.RequestError."""
    if target.token is None:
        return failed(TOKEN, "token_missing", f"There is no token to send. {_seen(prober)}", target.refresh)
    auth = prober.send("GET", "/oauth2/auth")
    if auth.status == 202:
        return _identity(auth, target.token)
    answer = prober.send("GET", INFO)
    if auth.status in {401, 403} or _is_refusal(answer):
        code, sentence, remedy = _cause(prober, target, target.token, answer, now=now)
        return failed(TOKEN, code, f"{sentence} {_seen(prober)}", remedy)
    if answer.identity:
        return _identity(answer, target.token)
    return skipped(TOKEN, f"/oauth2/auth is not routed here ({auth.status}), and nothing was refused")


class _Cause(NamedTuple):
    """A code, a sentence, and what to do."""

    code: str
    sentence: str
    remedy: str


def _cause(prober: Prober, target: Target, token: str, answer: Answer, *, now: datetime) -> _Cause:
    problem = problem_of(token, now=now, allow_unverified_email=True)
    if problem:
        return _Cause(f"token_{problem}", problem.sentence, target.refresh)
    claims = read_claims(token)
    return (
        _for_another_proxy(prober, claims, target)
        or _email(claims)
        or _not_allowed(answer, claims)
        or _unknown(answer)
        or _unsigned(prober, token, claims, target)
    )


def _for_another_proxy(prober: Prober, claims: Claims, target: Target) -> _Cause | None:
    address, client_id = _sign_in(prober)
    if client_id and client_id not in claims.audience:
        return _Cause(
            "token_other_audience",
            f"The token is for {', '.join(claims.audience) or 'nobody'}; the proxy takes those for {client_id}.",
            f"Mint it with the client id {client_id} ({target.refresh} --force --audience {client_id}), "
            "or name its audience in the proxy's --oidc-extra-audience.",
        )
    if address and claims.issuer and not _signs_in_at(prober, claims.issuer, address):
        return _Cause(
            "token_other_issuer",
            f"The token is from {claims.issuer}; the proxy trusts {address}.",
            f"Mint it there: {target.refresh} --force --issuer …",
        )
    return None


def _email(claims: Claims) -> _Cause | None:
    if claims.email_verified is not False:
        return None
    problem = TokenProblem.EMAIL_NOT_VERIFIED
    return _Cause(f"token_{problem}", problem.sentence, "Have the address verified in Dex.")


def _not_allowed(answer: Answer, claims: Claims) -> _Cause | None:
    if not _is_not_allowed(answer):
        return None
    return _Cause(
        "identity_not_allowed",
        f"The token is good, but the proxy does not let {claims.owner} in (groups: {', '.join(claims.groups)}).",
        "See the proxy's --email-domain and --allowed-group; groups are in the token only with the scope groups.",
    )


def _unknown(answer: Answer) -> _Cause | None:
    # For a refused token the proxy answers a request for JSON with 401, or with a plain "Forbidden".
    if answer.status != 403 or answer.identity or _is_sign_in_page(answer) or answer.text == "Forbidden\n":
        return None
    sentence = f"Something before MLflow, and not its oauth2-proxy, refuses the request: {answer.shown()}"
    return _Cause("refused_by_another", sentence, "Is there a mesh or gateway with rules of its own before the server?")


def _unsigned(prober: Prober, token: str, claims: Claims, target: Target) -> _Cause:
    issuer = claims.issuer
    signature, why = judge_signature(prober, token, issuer)
    match signature:
        case Signature.UNKNOWN_KEY:
            return _Cause(
                "token_key_unknown",
                f"{issuer} has no key of the id that this token names: it lost its keys, or another Dex signed it.",
                f"{target.refresh} --force   # Dex keeps its keys over a restart only with a storage other than memory",
            )
        case Signature.WRONG:
            return _Cause(
                "token_signature_wrong",
                f"No key of {issuer} signed this token: it was changed after it was signed, or is another's.",
                f"{target.refresh} --force",
            )
        case Signature.ISSUER_DOWN:
            return _Cause(
                "issuer_down",
                f"The token is right in every claim looked at, but the keys of its issuer cannot be had, so the proxy "
                f"cannot verify it: {why}.",
                "Is Dex running, and can the proxy reach it?",
            )
        case Signature.NOT_LOOKED_AT:
            return _Cause(
                "bearer_refused",
                f"The proxy refuses a token that is right in every claim looked at; who signed it could not be seen "
                f"from here: {why}.",
                f"Is --skip-jwt-bearer-tokens on? Has Dex lost the key that signed it? {_ADMIN}",
            )
        case Signature.GOOD:
            return _Cause(
                "bearer_not_accepted",
                "The proxy refuses a token that is right in every claim looked at, and signed by its issuer's key: it "
                "takes no tokens at all, or has not got that key yet.",
                f"Start the proxy with --skip-jwt-bearer-tokens. {_ADMIN}",
            )


class _SignIn(NamedTuple):
    """Where the proxy sends people to sign in, and the client id that it has there; empty where not known."""

    address: str = ""
    client_id: str = ""


def _sign_in(prober: Prober) -> _SignIn:
    """Ask the proxy where it would have people sign in: at its own path, else on the way to MLflow's first page."""
    for path in ("/oauth2/start", "/"):
        found = _sign_in_of(prober.send("GET", path, identified=False, accept=ANY))
        if found.client_id:
            return found
    return _SignIn()


def _sign_in_of(answer: Answer) -> _SignIn:
    target = split_url(answer.location)
    if not 300 <= answer.status < 400 or not target.netloc:
        return _SignIn()
    return _SignIn(f"{target.scheme}://{target.netloc}{target.path}", parse_qs(target.query).get("client_id", [""])[0])


def _signs_in_at(prober: Prober, issuer: str, address: str) -> bool:
    """Whether an issuer's sign-in has this address: below its own, as Dex's is, or as its discovery document says."""
    if address.startswith(issuer.rstrip("/") + "/"):
        return True
    if split_url(issuer).netloc != split_url(address).netloc:
        return False
    with suppress(httpx.HTTPError, UnreachableError):
        return (discover(prober, issuer) or {}).get("authorization_endpoint") == address
    return False


def _is_sign_in_page(answer: Answer) -> bool:
    return answer.status == 403 and "<title>Sign In</title>" in answer.text


def _is_not_allowed(answer: Answer) -> bool:
    """Whether it is the proxy's page for a good token of somebody it does not let in, or its JSON for the same."""
    page = "<title>403 Forbidden</title>" in answer.text or answer.json == {}
    return answer.status == 403 and not answer.identity and page


def _is_refusal(answer: Answer) -> bool:
    return not answer.identity and (
        answer.status in {401, 403} or bool(_sign_in_of(answer).address) or _is_sign_in_page(answer)
    )


def _seen(prober: Prober) -> str:
    """Say what MLflow's client is answered, in the words that a person saw: it asks for anything, not for JSON."""
    answer = prober.send("GET", INFO, accept=ANY)
    if _is_sign_in_page(answer):
        what = "a sign-in page (403)"
    elif _sign_in_of(answer).address:
        what = f"a redirect to the sign-in ({answer.status})"
    elif answer.status == 401:
        what = "401 and nothing else"
    elif answer.status == 403:
        what = "403 Forbidden"
    else:
        what = answer.shown()
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
            f"The proxy takes you for {answer.identity}; the token says {owner}.",
            "Runs belong to who the proxy says. Is the scope email in the token?",
        )
    return passed(TOKEN, f"the proxy takes you for {answer.identity or owner or 'somebody it does not name'}")
