"""Finds where an oauth2-proxy sends people to sign in. This shows its client id, and which issuer it trusts.

``--login-url=/dex/auth`` makes the redirect relative (Kubeflow's manifests have it, with ``--skip-oidc-discovery``);
``--proxy-prefix`` moves the proxy's paths, and its sign-in page names them (``pkg/app/pagewriter/sign_in.html``).
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qs, urljoin

import httpx

from webhook.doctor.forward import UnreachableError
from webhook.doctor.issuer import discover
from webhook.doctor.probe import ANY, Answer, Prober
from webhook.network import split_url

_START = re.compile(r"""\baction=["'](/[^"'?#\s]*/start)["']""")
_LONGEST = 500
"""The most characters of a client id in a command."""
_DEX = "/auth"
"""Dex's sign-in is at ``{issuer}/auth`` (observed with Dex 2.45.0)."""


class SignIn(NamedTuple):
    """Where the proxy sends people to sign in, and its client id there; empty if not known.

    The address may be relative: then it names no host.
    """

    address: str = ""
    client_id: str = ""


class IssuerComparison(NamedTuple):
    """Whether a token's issuer is the one that the proxy trusts; None if that could not be found out.

    `trusted` is the proxy's issuer, if it is known.
    """

    same: bool | None
    trusted: str = ""


def find_sign_in(prober: Prober) -> SignIn:
    """Return where the proxy signs people in: see its first page, or else its usual path. Raises RequestError."""
    front = prober.send("GET", "/", identified=False, accept=ANY)
    if (found := sign_in_of(front)).client_id:
        return found
    named = _START.search(front.text) if is_sign_in_page(front) else None
    for path in dict.fromkeys([named[1] if named else "", "/oauth2/start"]):
        if path and (found := sign_in_of(prober.send("GET", path, identified=False, accept=ANY))).client_id:
            return found
    return SignIn()


def sign_in_of(answer: Answer) -> SignIn:
    """Return the sign-in to which an answer redirects. A relative redirect counts only if it names a client id."""
    target = split_url(answer.location)
    client_id = parse_qs(target.query).get("client_id", [""])[0][:_LONGEST]
    if not 300 <= answer.status < 400 or not (target.netloc or (client_id and target.path.startswith("/"))):
        return SignIn()
    return SignIn(target._replace(query="", fragment="").geturl(), client_id)


def is_sign_in_page(answer: Answer) -> bool:
    """Return whether an answer is the proxy's own page with a button to sign in."""
    return answer.status == 403 and "<title>Sign In</title>" in answer.text


def compare_issuer(prober: Prober, issuer: str, sign_in: SignIn) -> IssuerComparison:
    """Compare a token's issuer with the one at which the proxy signs people in.

    They are the same if the sign-in is below the issuer, or if the issuer's discovery document names it. They differ if
    the discovery document of the sign-in's host names another issuer. If the documents cannot be read, the same path on
    another host proves nothing: the proxy's --login-url may be the issuer's public address.
    """
    if not issuer:
        return IssuerComparison(same=False, trusted=trusted_issuer(prober, sign_in))
    if not sign_in.client_id:
        return IssuerComparison(same=None)
    address = sign_in.address
    if address.startswith(issuer.rstrip("/") + "/"):
        return IssuerComparison(same=True, trusted=issuer)
    if trusted := trusted_issuer(prober, sign_in):
        return IssuerComparison(same=trusted == issuer, trusted=trusted)
    if (endpoint := _discovered(prober, issuer, "authorization_endpoint")) and endpoint == address:
        return IssuerComparison(same=True, trusted=issuer)
    path = split_url(address).path
    same_path = path == split_url(endpoint).path or path.startswith(split_url(issuer).path.rstrip("/") + "/")
    other_host = split_url(address).netloc != split_url(issuer).netloc
    return IssuerComparison(same=None if same_path and other_host else False)


def trusted_issuer(prober: Prober, sign_in: SignIn) -> str:
    """Return the issuer that the discovery document of the sign-in's host names; empty if it is not known."""
    if not sign_in.address.endswith(_DEX):
        return ""
    return _discovered(prober, urljoin(prober.uri, sign_in.address).removesuffix(_DEX), "issuer")


def _discovered(prober: Prober, issuer: str, name: str) -> str:
    with suppress(httpx.HTTPError, UnreachableError):
        value = (discover(prober, issuer) or {}).get(name)
        return value if isinstance(value, str) else ""
    return ""
