"""What refuses a request, other than oauth2-proxy and MLflow's API: a mesh, a gateway, a password."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.dex import jwt
from tests.support.proxy import Reply, Server, html, of_json
from tests.webhook.doctor.probing import INFO, SEARCH, TEXT, ask, minted, switch
from webhook.doctor.findings import Status

BASIC = Reply(401, "You are not authenticated.", {"WWW-Authenticate": 'Basic realm="mlflow"'})
"""As of mlflow server --app-name basic-auth."""
RBAC = Reply(403, "RBAC: access denied", TEXT)
CLOUDFLARE = html(403, '<!DOCTYPE html><html class="no-js"><head><title>Attention Required! |\n Cloudflare</title>')
NGINX = html(403, "<html><head><title>403 Forbidden</title></head><body><hr><center>nginx</center></body></html>")
RULES = "kubectl get requestauthentications --all-namespaces -o yaml"
NEW_TOKEN = "mlflow-webhook token refresh --namespace team-a --force --issuer "


def envoy(text: str, status: int = 401) -> Reply:
    return Reply(status, text, {**TEXT, "WWW-Authenticate": 'Bearer realm="http://mlflow/", error="invalid_token"'})


@pytest.mark.parametrize(
    "answer", [envoy("Jwt issuer is not configured"), envoy("Audiences in Jwt are not allowed", 403)]
)
@pytest.mark.parametrize("proxied", [False, True], ids=["no-proxy", "proxy"])
def test_a_mesh_without_a_rule_for_the_token_leads_to_its_rules(answer: Reply, proxied: bool, server: Server) -> None:
    switch(proxied=proxied, takes_bearer=False)(server)
    server.replies[INFO] = answer
    found = ask(server, namespace="team-a")["proxy-accepts-token" if proxied else "mlflow-answers"]
    assert found.code == "refused_by_another"
    assert f"{answer.status} text/plain: '{answer.body}'" in found.message
    assert f"The token is for mlflow, from {server.issuer}." in found.message
    assert found.remedy.endswith(RULES)
    assert "token refresh" not in found.remedy


@pytest.mark.parametrize(
    "text",
    [
        "Jwt is expired",
        "Jwt verification fails",
        "Jwks doesn't have key to match kid or alg from Jwt",
        "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
    ],
)
def test_a_mesh_that_refuses_this_token_only_leads_to_a_new_one(text: str, server: Server) -> None:
    switch(proxied=False, everywhere=envoy(text))(server)
    found = ask(server, namespace="team-a")["mlflow-answers"]
    assert found.code == "refused_by_another"
    assert text in found.message
    assert found.remedy.startswith(f"{NEW_TOKEN}{server.issuer} ")
    assert found.remedy.endswith(RULES)


@pytest.mark.parametrize("token", [None, "abc", minted()], ids=["none", "no-jwt", "jwt"])
@pytest.mark.parametrize("path", [INFO, SEARCH])
def test_a_mesh_that_denies_the_request_leads_to_its_policies(path: str, token: Any, server: Server) -> None:
    server.proxied = False
    server.replies[path] = RBAC
    found = ask(server, token=token, namespace="team-a")["mlflow-answers" if path == INFO else "workspace-access"]
    assert found.code == "refused_by_another"
    assert "403 text/plain: 'RBAC: access denied'" in found.message
    assert "the pods of team-a: kubectl get authorizationpolicies --all-namespaces" in found.remedy


def test_a_mesh_between_the_proxy_and_mlflow_is_named(server: Server) -> None:
    server.replies[INFO] = Reply(403, "RBAC: access denied", {**TEXT, "GAP-Auth": "alice@example.com"})
    found = ask(server)
    assert found["proxy-accepts-token"].status is Status.PASSED
    assert found["mlflow-answers"].code == "refused_by_another"


@pytest.mark.parametrize(
    ("answer", "seen"), [(CLOUDFLARE, "Attention Required! | Cloudflare"), (NGINX, "403 Forbidden")]
)
@pytest.mark.parametrize("proxied", [False, True], ids=["no-proxy", "proxy"])
def test_the_page_of_a_gateway_is_named_by_its_title(answer: Reply, seen: str, proxied: bool, server: Server) -> None:
    switch(proxied=proxied, takes_bearer=False)(server)
    server.replies[INFO] = answer
    found = ask(server)["proxy-accepts-token" if proxied else "mlflow-answers"]
    assert found.code == "refused_by_another"
    assert found.message.endswith(f"403 text/html: the page '{seen}'")


@pytest.mark.parametrize("text", ["", "Forbidden", "{}"])
def test_a_403_without_a_text_is_not_of_mlflow(text: str, server: Server) -> None:
    switch(proxied=False, everywhere=Reply(403, text, TEXT))(server)
    assert ask(server)["mlflow-answers"].code == "refused_by_another"


@pytest.mark.parametrize("token", [None, minted()], ids=["no-token", "token"])
def test_a_gateway_whose_pages_have_a_number_each_is_not_a_proxy(token: Any, server: Server) -> None:
    switch(proxied=False, everywhere=CLOUDFLARE)(server)
    for number, path in enumerate(["/ping", "/oauth2/auth"]):
        server.replies[path] = html(403, f"{CLOUDFLARE.body} Ray ID: {number}")
    found = ask(server, token=token)
    assert "without an oauth2-proxy" in found["server-reachable"].message
    assert found["mlflow-answers"].code == "refused_by_another"


def test_a_401_with_a_text_is_not_the_proxys(server: Server) -> None:
    switch(takes_bearer=False)(server)
    server.replies[INFO] = Reply(401, "no API key", TEXT)
    found = ask(server, namespace="team-a")["proxy-accepts-token"]
    assert found.code == "refused_by_another"
    assert "401 text/plain: 'no API key'" in found.message
    assert found.remedy.endswith(f"{NEW_TOKEN}{server.issuer}")


def test_what_a_client_without_a_token_sees_is_shown_in_the_servers_words(server: Server) -> None:
    server.replies[INFO] = Reply(401, "no API key", TEXT)
    assert (
        "MLflow's client sees 401 text/plain: 'no API key'." in ask(server, token=None)["proxy-accepts-token"].message
    )
    server.replies[INFO] = RBAC
    assert "'RBAC: access denied'" in ask(server, token=None)["proxy-accepts-token"].message


@pytest.mark.parametrize("path", [INFO, SEARCH])
@pytest.mark.parametrize("proxied", [False, True], ids=["no-proxy", "proxy"])
def test_a_server_that_wants_a_password_is_not_offered_another_token(path: str, proxied: bool, server: Server) -> None:
    # MLflow's basic-auth app answers server-info without a password, and nothing else
    server.proxied = proxied
    server.replies[path] = Reply(401, BASIC.body, {**BASIC.headers, "GAP-Auth": "alice"} if proxied else BASIC.headers)
    found = ask(server, namespace="team-a")["mlflow-answers" if path == INFO else "workspace-access"]
    assert found.code == "basic_auth_required"
    assert "MLFLOW_TRACKING_USERNAME" in found.remedy
    assert "token refresh" not in found.remedy


@pytest.mark.parametrize(
    ("challenge", "code"),
    [
        ('Basic realm="mlflow"', "basic_auth_required"),
        ('Negotiate, basic realm="x"', "basic_auth_required"),
        ('Basic realm="x", Bearer realm="y"', "unauthorized"),
        ('Bearer realm="Basic"', "unauthorized"),
        ('Digest realm="Basic"', "unauthorized"),
        ("", "unauthorized"),
    ],
)
def test_only_a_server_that_accepts_nothing_else_wants_a_password(challenge: str, code: str, server: Server) -> None:
    switch(proxied=False, everywhere=Reply(401, "", {"WWW-Authenticate": challenge}))(server)
    assert ask(server)["mlflow-answers"].code == code


def test_a_token_in_the_text_of_a_mesh_is_not_shown(server: Server) -> None:
    token = jwt(iss=server.issuer)
    texts = [f"Jwt is expired {token}", f"RBAC: access denied {token}", f"you sent {token}", "x" * 5000]
    for text in texts:
        switch(proxied=False, everywhere=Reply(403, text, TEXT))(server)
        found = ask(server, token=token)["mlflow-answers"]
        assert found.code == "refused_by_another"
        assert token not in found.message + found.remedy
        assert len(found.message) < 500
    switch(everywhere=html(403, f"<title>{token}</title>"))(server)
    assert "the page '[hidden]'" in ask(server, token=token)["mlflow-answers"].message


def test_a_401_of_mlflows_own_is_shown_with_its_message(server: Server) -> None:
    answer = of_json(401, {"error": {"code": "UNAUTHENTICATED", "message": "Missing Authorization header."}})
    switch(proxied=False, everywhere=answer)(server)
    found = ask(server)["mlflow-answers"]
    assert found.code == "unauthorized"
    assert found.message.startswith("The server requires a token, and does not accept this one (401 application/json: ")
    assert "Missing Authorization header." in found.message


def test_a_401_without_a_token_does_not_speak_of_one(server: Server) -> None:
    switch(proxied=False, everywhere=of_json(401, {}))(server)
    assert ask(server, token=None)["mlflow-answers"].message == "The server requires a token, and none was sent (401)."
