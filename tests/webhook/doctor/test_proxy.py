"""What refuses a token, and why: the proxy, its issuer, the issuer's keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
import pytest

from tests.support.dex import KEY, KEY_ID, OTHER_KEY, Answer, jwt, keys
from tests.support.proxy import PLUGIN_401, Reply, Server, of_json
from tests.webhook.doctor.probing import TEXT, ask, minted, switch
from webhook.core.configuration import SecretKey
from webhook.doctor.findings import Status

FLAGS: dict[str, tuple[dict[str, bool], str]] = {
    "no flags": ({}, "a sign-in page (403)"),
    "--skip-provider-button": ({"redirects": True}, "a redirect to the sign-in (302)"),
    "--force-json-errors": ({"json_errors": True}, "401 and nothing else"),
    "--bearer-token-login-fallback=false": ({"fallback": False}, "403 Forbidden"),
    "an ingress without the proxy's own paths": ({"own_paths": False}, "a sign-in page (403)"),
    "such an ingress, and redirects": ({"own_paths": False, "redirects": True}, "a redirect to the sign-in (302)"),
}


REFUSED: dict[str, tuple[Callable[[Server], Any], Callable[[str], str]]] = {
    "token_expired": (switch(), minted(exp=int(time.time()) - 60)),
    "token_key_unknown": (switch(), minted(key=OTHER_KEY, kid="1" * 40)),
    "token_email_not_verified": (switch(), minted(email_verified=False)),
    "bearer_not_accepted": (switch(takes_bearer=False), minted()),
    "identity_not_allowed": (switch(allowed=False), minted()),
}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("code", REFUSED)
def test_a_cause_is_told_whatever_shape_the_proxys_refusal_has(code: str, flags: str, server: Server) -> None:
    prepare, token = REFUSED[code]
    switches, seen = FLAGS[flags]
    prepare(server)
    switch(**switches)(server)
    found = ask(server, token=token)["proxy-accepts-token"]
    assert found.code == code
    if code != "identity_not_allowed":
        assert seen in found.message


@pytest.mark.parametrize("flags", FLAGS)
def test_nothing_is_found_whatever_the_flags_when_nothing_is_wrong(flags: str, server: Server) -> None:
    switch(**FLAGS[flags][0])(server)
    found = ask(server)
    assert {finding.status for finding in found.values()} == {Status.PASSED, Status.SKIPPED}
    assert "alice@example.com" in found["proxy-accepts-token"].message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(403, "Invalid Host header - possible DNS rebinding attack detected", TEXT), "host_not_allowed"),
        (Reply(403, "RBAC: access denied", TEXT), "unexpected_answer"),
        (Reply(401, "", {"WWW-Authenticate": 'Basic realm="mlflow"'}), "unauthorized"),
        (of_json(401, PLUGIN_401), "unauthorized"),
    ],
)
@pytest.mark.parametrize("token", [None, minted()], ids=["no-token", "token"])
def test_what_refuses_every_path_alike_is_no_proxy(answer: Reply, code: str, token: Any, server: Server) -> None:
    switch(proxied=False, everywhere=answer)(server)
    found = ask(server, token=token)
    assert found["proxy-accepts-token"].status is Status.SKIPPED
    assert found["mlflow-answers"].code == code


def test_the_sign_in_of_an_issuer_may_be_beside_it_when_its_discovery_document_says_so(server: Server) -> None:
    # Entra's is: the issuer ends in /v2.0, its sign-in is at /oauth2/v2.0/authorize.
    issuer = Server()
    issuer.proxied = False
    sign_in = f"{issuer.url}/oauth2/authorize"
    issuer.replies["/dex/keys"] = of_json(200, keys())
    switch(issuer=f"{issuer.url}/dex", takes_bearer=False)(server)
    server.replies["/oauth2/start"] = Reply(302, "", {"Location": f"{sign_in}?client_id=mlflow"})
    try:
        assert ask(server)["proxy-accepts-token"].code == "token_other_issuer"
        issuer.replies["/dex/.well-known/openid-configuration"] = of_json(200, {"authorization_endpoint": sign_in})
        assert ask(server)["proxy-accepts-token"].code == "bearer_not_accepted"
    finally:
        issuer.stop()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(503, b"down"), "issuer_down"),
        (Answer(200, b'{"keys": 3}', {"Content-Type": "application/json"}), "bearer_refused"),
        (Answer(200, b'{"keys": []}', {"Content-Type": "application/json"}), "bearer_refused"),
        (Answer(200, b'{"keys": [5, {"kid": ["a"]}]}', {"Content-Type": "application/json"}), "token_key_unknown"),
        (Answer(200, b'{"keys": [{"kid": "%s", "alg": ["RS256"]}]}' % KEY_ID.encode()), "bearer_refused"),
        (Answer(200, b'{"keys": [{"kid": "%s", "kty": "none"}]}' % KEY_ID.encode()), "bearer_refused"),
        (Answer(200, json.dumps(keys()).encode(), {"Content-Type": "application/jwk-set+json"}), "bearer_not_accepted"),
        (Answer(200, json.dumps(keys()).encode(), {"Content-Type": "text/plain"}), "bearer_not_accepted"),
        (Answer(301, b"", {"Location": "/moved"}), "bearer_not_accepted"),
    ],
)
def test_keys_that_cannot_be_had_or_read_prove_nothing_of_the_token(answer: Answer, code: str, server: Server) -> None:
    issuer = Server()
    issuer.proxied = False
    issuer.replies["/dex/keys"] = Reply(answer.status, answer.body.decode(), answer.headers)
    issuer.replies["/moved"] = of_json(200, keys())
    try:
        switch(issuer=f"{issuer.url}/dex", takes_bearer=False)(server)
        assert ask(server)["proxy-accepts-token"].code == code
    finally:
        issuer.stop()


def test_no_token_is_sent_to_an_issuer(server: Server) -> None:
    issuer = Server()
    try:
        switch(issuer=f"{issuer.url}/dex", takes_bearer=False)(server)
        ask(server)
        assert set(issuer.authorizations) == {""}
    finally:
        issuer.stop()


def test_the_remedy_mints_into_the_secret_that_is_read(server: Server) -> None:
    found = ask(server, token=minted(key=OTHER_KEY), namespace="team-a", secret=SecretKey("ci-token", "jwt"))
    remedy = "mlflow-webhook token refresh --namespace team-a --secret ci-token/jwt --force"
    assert found["proxy-accepts-token"].remedy == remedy


def test_a_token_that_the_proxy_names_as_the_identity_is_not_shown(server: Server) -> None:
    token = jwt(iss=server.issuer)
    server.identity = token
    assert token not in ask(server, token=token)["proxy-accepts-token"].message


@pytest.mark.parametrize(
    ("algorithm", "code"),
    [("RS384", "bearer_not_accepted"), ("PS256", "bearer_not_accepted"), ("HS256", "token_signature_wrong")],
)
def test_a_key_that_names_no_algorithm_serves_all_of_its_kind(algorithm: str, code: str, server: Server) -> None:
    issuer = Server()
    issuer.proxied = False
    issuer.replies["/dex/keys"] = of_json(
        200, {"keys": [{name: value for name, value in key.items() if name != "alg"} for key in keys()["keys"]]}
    )
    try:
        switch(issuer=f"{issuer.url}/dex", takes_bearer=False)(server)
        claims = pyjwt.decode(jwt(iss=server.issuer), options={"verify_signature": False})
        key = "a secret of its own, long enough" if algorithm == "HS256" else KEY
        token = pyjwt.encode(claims, key, algorithm, {"kid": KEY_ID})
        assert ask(server, token=token)["proxy-accepts-token"].code == code
    finally:
        issuer.stop()
