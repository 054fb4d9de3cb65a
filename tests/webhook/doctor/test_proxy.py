"""Why a token is refused: because of the proxy, its issuer, or the issuer's keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jwt as pyjwt
import pytest

from tests.support.dex import KEY, KEY_ID, OTHER_KEY, Answer, Dex, jwt, keys
from tests.support.proxy import PLUGIN_401, Reply, Server, of_json
from tests.webhook.doctor.probing import INFO, SEARCH, TEXT, ask, minted, switch
from webhook.core.values import SecretKey
from webhook.doctor.findings import Status
from webhook.doctor.refresh_job import RefreshJob

FLAGS: dict[str, tuple[dict[str, bool], str]] = {
    "no flags": ({}, "a sign-in page (403)"),
    "--skip-provider-button": ({"redirects": True}, "a redirect to the sign-in (302)"),
    "--force-json-errors": ({"json_errors": True}, "401 without a message"),
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
def test_a_cause_is_found_in_every_form_of_the_proxys_refusal(code: str, flags: str, server: Server) -> None:
    prepare, token = REFUSED[code]
    switches, seen = FLAGS[flags]
    prepare(server)
    switch(**switches)(server)
    found = ask(server, token=token)["proxy-accepts-token"]
    # without the proxy's paths and its redirect, the token can be compared with nothing
    compared = server.own_paths or server.redirects
    assert found.code == ("bearer_refused" if code == "bearer_not_accepted" and not compared else code)
    if code != "identity_not_allowed":
        assert seen in found.message


@pytest.mark.parametrize("flags", FLAGS)
def test_with_any_flags_of_the_proxy_a_correct_setup_passes(flags: str, server: Server) -> None:
    switch(**FLAGS[flags][0])(server)
    found = ask(server)
    assert {finding.status for finding in found.values()} == {Status.PASSED, Status.SKIPPED}
    assert "alice@example.com" in found["proxy-accepts-token"].message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Reply(403, "Invalid Host header - possible DNS rebinding attack detected", TEXT), "host_not_allowed"),
        (Reply(403, "RBAC: access denied", TEXT), "refused_by_another"),
        (Reply(401, "", {"WWW-Authenticate": 'Basic realm="mlflow"'}), "basic_auth_required"),
        (of_json(401, PLUGIN_401), "unauthorized"),
    ],
)
@pytest.mark.parametrize("token", [None, minted()], ids=["no-token", "token"])
def test_a_server_that_refuses_every_path_in_the_same_way_is_not_a_proxy(
    answer: Reply, code: str, token: Any, server: Server
) -> None:
    switch(proxied=False, everywhere=answer)(server)
    found = ask(server, token=token)
    assert found["proxy-accepts-token"].status is Status.SKIPPED
    assert found["mlflow-answers"].code == code


def test_the_sign_in_of_an_issuer_may_be_next_to_it_when_its_discovery_document_says_so(server: Server) -> None:
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


MINT = "mlflow-webhook token refresh --namespace NAMESPACE --force --issuer ISSUER"
KUBEFLOW = {"login_url": "/dex/auth"}
"""As in Kubeflow's manifests: ``--skip-oidc-discovery --login-url=/dex/auth``; the redirect names no host."""


@pytest.mark.parametrize("flags", FLAGS)
def test_the_client_id_of_a_relative_redirect_is_compared_with_the_tokens_audience(flags: str, server: Server) -> None:
    switch(**{**FLAGS[flags][0], **KUBEFLOW, "client_id": "kubeflow-oidc-authservice"})(server)
    found = ask(server)["proxy-accepts-token"]
    if server.own_paths or server.redirects:
        assert found.code == "token_other_audience"
        assert "is for mlflow; the proxy accepts tokens for kubeflow-oidc-authservice." in found.message
        assert "--audience kubeflow-oidc-authservice" in found.remedy
    else:
        assert found.code == "bearer_refused"
        assert f"The token is for mlflow, from {server.issuer}." in found.message
        assert "the proxy's client id and the issuer that the proxy trusts" in found.message


@pytest.mark.parametrize("own_dex", [False, True], ids=["sign-in on another host", "sign-in on the server's host"])
def test_a_relative_redirect_names_the_issuer_only_where_it_answers(own_dex: bool, server: Server, dex: Dex) -> None:
    switch(**KUBEFLOW)(server)
    if own_dex:
        document = of_json(200, {"issuer": dex.issuer, "jwks_uri": f"{dex.issuer}/keys"})
        server.replies["/dex/.well-known/openid-configuration"] = document
    found = ask(server, token=minted(iss="http://127.0.0.1:1/dex"))["proxy-accepts-token"]
    if own_dex:
        assert found.code == "token_other_issuer"
        assert f"is from http://127.0.0.1:1/dex; the proxy trusts {dex.issuer}." in found.message
        assert found.remedy.endswith(f"--force --issuer {dex.issuer}")
    else:
        assert found.code == "issuer_down"
        assert "The token is for mlflow, from http://127.0.0.1:1/dex." in found.message
        assert "Could not be compared: the issuer that the proxy trusts." in found.message
        assert found.remedy.endswith("get a token there: " + MINT)


def test_a_relative_sign_in_at_the_issuers_path_may_be_the_issuers_and_another_path_is_not(server: Server) -> None:
    switch(login_url="/dex/auth", takes_bearer=False)(server)
    found = ask(server)["proxy-accepts-token"]
    assert found.code == "bearer_refused"
    assert "Compare the token with the proxy's --oidc-issuer-url." in found.remedy
    switch(login_url="/keycloak/auth")(server)
    found = ask(server)["proxy-accepts-token"]
    assert found.code == "token_other_issuer"
    assert "the proxy signs people in at /keycloak/auth" in found.message


def test_for_another_audience_from_another_issuer_the_remedy_names_the_one_that_the_proxy_trusts(
    server: Server,
) -> None:
    found = ask(server, token=jwt(iss="http://another/dex", aud="other"))["proxy-accepts-token"]
    assert found.code == "token_other_audience"
    assert found.remedy.endswith(f"--force --issuer {server.issuer} --audience mlflow")


@pytest.mark.parametrize("redirects", [False, True])
def test_a_proxy_with_another_prefix_is_asked_there(redirects: bool, server: Server) -> None:
    switch(prefix="/sign-in", client_id="other", redirects=redirects)(server)
    assert ask(server, token=minted(aud="other"))["proxy-accepts-token"].status is Status.PASSED
    assert ask(server)["proxy-accepts-token"].code == "token_other_audience"
    assert ask(server, token=minted(exp=1))["proxy-accepts-token"].code == "token_expired"


def test_where_nothing_of_the_proxy_is_known_the_message_says_what_was_not_compared(server: Server) -> None:
    switch(prefix="/sign-in", client_id="other", json_errors=True)(server)
    found = ask(server)["proxy-accepts-token"]
    assert found.code == "bearer_refused"
    assert "not expired, and its issuer's key signed it" in found.message
    assert f"The token is for mlflow, from {server.issuer}." in found.message
    assert "Could not be compared: the proxy's client id and the issuer that the proxy trusts." in found.message
    assert "--client-id (or --oidc-extra-audience) and --oidc-issuer-url" in found.remedy


@pytest.mark.parametrize("cut", [1, 3, 200])
def test_a_token_that_was_cut_off_is_named_and_the_remedy_replaces_it(cut: int, server: Server) -> None:
    found = ask(server, token=jwt(iss=server.issuer)[:-cut])["proxy-accepts-token"]
    assert found.code == "token_truncated"
    assert found.remedy.startswith("mlflow-webhook token refresh --namespace NAMESPACE --issuer http://")


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
def test_keys_that_cannot_be_read_prove_nothing_about_the_token(answer: Answer, code: str, server: Server) -> None:
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
    remedy = "mlflow-webhook token refresh --namespace team-a --secret ci-token/jwt --force --issuer"
    assert found["proxy-accepts-token"].remedy == f"{remedy} {server.issuer}"


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
        key = "another secret that is long enough" if algorithm == "HS256" else KEY
        token = pyjwt.encode(claims, key, algorithm, {"kid": KEY_ID})
        assert ask(server, token=token)["proxy-accepts-token"].code == code
    finally:
        issuer.stop()


@pytest.mark.parametrize("token", [None, "", minted(aud="other"), minted()], ids=["none", "empty", "other", "good"])
def test_a_proxy_that_lets_everybody_through_to_the_api_does_not_miss_a_token(token: Any, server: Server) -> None:
    # --skip-auth-route, --trusted-ip: MLflow answers, and the proxy names nobody
    switch(takes_bearer=False)(server)
    server.replies[INFO] = of_json(200, {"workspaces_enabled": True})
    server.replies[SEARCH] = of_json(200, {})
    found = ask(server, token=token)
    assert {finding.status for finding in found.values()} == {Status.PASSED, Status.SKIPPED}
    assert "without a token" in found["proxy-accepts-token"].message


def test_a_token_of_kubernetes_leads_to_no_issuer_that_cannot_mint_another(server: Server) -> None:
    claims = {"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:team-a:default-editor"}
    found = ask(server, token=minted(**claims), namespace="team-a")["proxy-accepts-token"]
    assert found.code == "token_other_issuer"
    assert found.remedy.endswith(f"--issuer {server.issuer}")
    found = ask(server, token=minted(**claims, exp=1), namespace="team-a")["proxy-accepts-token"]
    assert found.code == "token_expired"
    assert found.remedy == f"mlflow-webhook token refresh --namespace team-a --issuer {server.issuer}"


@pytest.mark.parametrize("part", ["client_id", "identity", "issuer", "location"])
def test_what_a_server_makes_long_is_cut(part: str, server: Server, dex: Dex) -> None:
    long = "http://a/" + "x" * 30_000
    if part == "identity":
        server.identity = long
    elif part == "client_id":
        switch(takes_bearer=False, client_id=long)(server)
    elif part == "issuer":
        switch(takes_bearer=False, login_url="/dex/auth")(server)
        server.replies["/dex/.well-known/openid-configuration"] = of_json(200, {"issuer": long})
    else:
        switch(proxied=False)(server)
        server.replies[INFO] = Reply(302, "", {"Location": long})
    found = [finding for finding in ask(server).values() if finding.code]
    assert len(found) == 1
    assert len(found[0].message) <= 2000
    assert len(found[0].remedy) < 1500


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "token_missing"),
        ("<html>Sign in</html>", "token_html"),
        ("abcdef", "token_not_a_jwt"),
        (minted(iss=None, exp=1), "token_expired"),
        (minted(iss=None), "token_other_issuer"),
    ],
)
def test_where_the_token_names_no_issuer_the_remedy_has_the_one_behind_the_proxy(
    token: Any, code: str, server: Server
) -> None:
    found = ask(server, token=token)["proxy-accepts-token"]
    assert found.code == code
    assert found.remedy.endswith(f" --issuer {server.issuer}")


def test_an_issuer_that_the_namespace_names_overrides_the_one_behind_the_proxy(server: Server) -> None:
    found = ask(server, token="abcdef", job=RefreshJob("job", "https://dex.example.com/dex"))["proxy-accepts-token"]
    assert "--issuer https://dex.example.com/dex " in found.remedy
