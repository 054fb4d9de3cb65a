"""What prevents runs, and how the doctor names it."""

from __future__ import annotations

import shlex
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.support.dex import OTHER_KEY, Dex, jwt
from tests.support.proxy import PLUGIN_401, PLUGIN_403, Reply, Server, html, of_json
from tests.support.waiting import DEADLINE
from tests.webhook.doctor.probing import INFO, SEARCH, TEXT, ask, minted, reply, switch
from webhook.doctor.findings import Status
from webhook.doctor.probe import Target
from webhook.doctor.server import check_server, create_workspace


def test_a_correct_setup_passes(server: Server) -> None:
    found = ask(server)
    assert {finding.status for finding in found.values()} == {Status.PASSED, Status.SKIPPED}
    assert "alice@example.com" in found["proxy-accepts-token"].message


def test_a_server_without_a_proxy_is_not_a_fault(server: Server) -> None:
    server.proxied = False
    found = ask(server, token="any")
    assert found["proxy-accepts-token"].status is Status.SKIPPED
    assert found["workspace-access"].status is Status.PASSED


CASES: dict[str, tuple[Callable[[Server], Any], dict[str, Any]]] = {
    "token_missing": (switch(), {"token": None}),
    "token_empty": (switch(), {"token": ""}),
    "token_expired": (switch(), {"token": minted(exp=int(time.time()) - 60)}),
    "token_not_a_jwt": (switch(), {"token": "abcdef"}),
    "token_quotes": (switch(), {"token": f'"{jwt()}"'}),
    "token_bearer_prefix": (switch(), {"token": f"Bearer {jwt()}"}),
    "token_white_space": (switch(), {"token": jwt() + "\n"}),
    "token_email_not_verified": (switch(), {"token": minted(email_verified=False)}),
    "token_other_audience": (switch(), {"token": minted(aud="other")}),
    "token_other_issuer": (switch(), {"token": minted(iss="http://another/dex")}),
    "token_key_unknown": (switch(), {"token": minted(key=OTHER_KEY, kid="1" * 40)}),
    "token_signature_wrong": (switch(), {"token": minted(key=OTHER_KEY)}),
    "issuer_down": (switch(issuer="http://127.0.0.1:1/dex", keys=None), {}),
    "bearer_refused": (switch(issuer="http://dex.invalid/dex", keys=None), {}),
    "identity_not_allowed": (switch(allowed=False), {}),
    "bearer_not_accepted": (switch(takes_bearer=False), {}),
    "another_identity": (switch(identity="CiQwOGE4"), {}),
    "mlflow_down": (switch(mlflow_up=False), {}),
    "host_not_allowed": (
        reply(INFO, Reply(403, "Invalid Host header - possible DNS rebinding attack detected", TEXT)),
        {},
    ),
    "refused_by_another": (reply(INFO, Reply(403, "RBAC: access denied", TEXT), takes_bearer=False), {}),
    "redirected": (reply(INFO, Reply(302, "", {"Location": "https://elsewhere/login?x=y"}), proxied=False), {}),
    "gateway_error": (reply(INFO, html(502, "<title>502</title>"), proxied=False), {}),
    "web_page": (reply(INFO, html(200, "<title>Log in</title>")), {}),
    "basic_auth_required": (
        reply(INFO, Reply(401, "", {"WWW-Authenticate": 'Basic realm="mlflow"'}), proxied=False),
        {},
    ),
    "unauthorized": (reply(INFO, of_json(401, {}), proxied=False), {}),
    "wrong_path": (reply(INFO, html(404, "<title>404</title>")), {}),
    "unexpected_answer": (reply(INFO, html(418, "<b>teapot</b>")), {}),
    "workspaces_disabled": (switch(workspaces_enabled=False), {}),
    "workspace_unset": (switch(), {"workspace": None}),
    "workspace_unknown": (switch(), {"workspace": "team-c"}),
    "workspace_name_invalid": (
        reply(SEARCH, of_json(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "must match"})),
        {},
    ),
    "no_access_to_workspace": (reply(SEARCH, of_json(403, PLUGIN_403)), {}),
    "mlflow_does_not_know_you": (reply(SEARCH, of_json(401, PLUGIN_401)), {}),
    "workspace_apis_disabled": (reply(SEARCH, of_json(500, {"error_code": "FEATURE_DISABLED"})), {}),
    "nothing_listens": (switch(), {"uri": "http://127.0.0.1:1"}),
    "name_does_not_resolve": (switch(), {"uri": "http://no-such-host.invalid"}),
    "address_not_valid": (switch(), {"uri": "http://a..b:5000"}),
    "answer_not_http": (switch(everywhere=Reply(200, "not compressed", {"Content-Encoding": "gzip"})), {}),
    "tls_to_a_plain_port": (lambda server: setattr(server, "url", server.url.replace("http:", "https:")), {}),
}


@pytest.mark.parametrize("code", CASES)
def test_each_cause_has_its_own_diagnosis(code: str, server: Server) -> None:
    prepare, changes = CASES[code]
    prepare(server)
    bad = [finding for finding in ask(server, **changes).values() if finding.code]
    assert [finding.code for finding in bad] == [code]
    assert bad[0].remedy


def test_no_two_causes_have_the_same_words_and_no_token_is_in_them(dex: Dex) -> None:
    said = []
    for prepare, changes in CASES.values():
        fresh = Server()
        fresh.issuer = dex.issuer
        try:
            prepare(fresh)
            said += [finding.message for finding in ask(fresh, **changes).values() if finding.code]
        finally:
            fresh.stop()
    assert len(set(said)) == len(said) == len(CASES)
    assert not any("eyJ" in message for message in said)


ODD_URLS = [
    "http://[",
    "//a]b/",
    "http://x[/",
    "http://a:99999/",
    "http://a..b/",
    "http://256.1.1.1/",
    "x",
    "\ud800",
    "",
]


@pytest.mark.parametrize("url", ODD_URLS)
def test_an_invalid_address_from_a_server_or_a_token_is_only_a_finding(url: str, server: Server) -> None:
    switch(takes_bearer=False)(server)
    found = ask(server, token=minted(iss=url))
    assert found["proxy-accepts-token"].status is Status.FAILED
    if url.isascii():
        server.replies[INFO] = server.replies["/oauth2/start"] = Reply(302, "", {"Location": url})
        assert ask(server)["proxy-accepts-token"].status is Status.FAILED
        switch(proxied=False)(server)
        assert Status.FAILED in {finding.status for finding in ask(server).values()}


@pytest.mark.parametrize("url", ODD_URLS)
def test_an_invalid_tracking_uri_is_a_finding(url: str, server: Server) -> None:
    assert ask(server, uri=url)["server-reachable"].status is Status.FAILED


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "text/plain; charset=hex"}, "abc"),
        ({"Content-Type": "application/json"}, '{"workspaces_enabled": 1' + "0" * 9000),
        ({"Content-Type": "application/json"}, "[" * 90000),
        ({"Set-Cookie": "a=caf\u00e9"}, "{}"),
    ],
    ids=["charset", "number", "depth", "cookie"],
)
def test_an_unusual_answer_is_only_a_finding(headers: dict[str, str], body: str, server: Server) -> None:
    server.everywhere = Reply(200, body, headers)
    assert Status.FAILED in {finding.status for finding in ask(server).values()}


def test_an_answer_without_end_is_read_for_no_longer_than_the_time_out() -> None:
    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # until the client goes away
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        target = Target(uri=f"http://127.0.0.1:{server.server_port}", workspace=None, token=None)
        with httpx.Client(timeout=0.3, trust_env=False) as client:
            assert next(check_server(client, target, now=datetime.now(UTC))).code == "no_answer_in_time"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.mark.parametrize("unread", ["token", "wiring"])
def test_a_workspace_that_cannot_be_read_does_not_count_as_missing(unread: str, server: Server) -> None:
    found = ask(server, token=None, unread=unread)
    assert found.pop("server-reachable").status is Status.PASSED
    assert {finding.status for finding in found.values()} == {Status.SKIPPED}
    assert f"its {unread}" in found["mlflow-answers"].message


def test_a_token_that_may_not_be_read_does_not_matter_where_no_proxy_asks_for_one(server: Server) -> None:
    server.proxied = False
    assert ask(server, token=None, unread="token")["workspace-access"].status is Status.PASSED


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (of_json(200, {"workspaces": [{"name": "b"}, {"name": "a"}]}), "may not see it; you see a, b."),
        (of_json(200, {"workspaces": [{"name": f"w{n:02}"} for n in range(12)]}), "w08, w09 and 2 more."),
        (of_json(200, {}), "may not see it."),
        (of_json(200, {"workspaces": []}), "you see no workspaces."),
        (html(503, "disabled"), "may not see it."),
    ],
)
def test_for_an_unknown_workspace_the_existing_ones_are_named(answer: Reply, words: str, server: Server) -> None:
    server.replies["/api/3.0/mlflow/workspaces"] = answer
    found = ask(server, workspace="team-c")["workspace-access"]
    assert found.code == "workspace_unknown"
    assert found.message.endswith(words)


@pytest.mark.parametrize("uri", ["", "http://mlflow.kubeflow:5000/a b"])
def test_an_unknown_workspace_comes_with_how_to_create_it(uri: str, server: Server) -> None:
    target = Target(uri=uri or server.url, workspace="team-c", token=None)
    assert create_workspace(target) == (
        "If the server has MLflow's Kubernetes plugin, the workspace is the namespace with the label that the plugin "
        "selects: kubectl label namespace team-c mlflow-enabled=true. Otherwise create it, with the token "
        f"of an allowed user in MLFLOW_TRACKING_TOKEN: MLFLOW_TRACKING_URI={shlex.quote(uri or server.url)} python -c "
        "'import mlflow; mlflow.create_workspace(\"team-c\")'"
    )
    assert ask(server, workspace="team-c")["workspace-access"].remedy.startswith(
        "If the server has MLflow's Kubernetes"
    )


def test_a_silent_server_is_not_waited_for_longer_than_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(4)
        target = Target(uri=f"http://127.0.0.1:{silent.getsockname()[1]}", workspace=None, token=None)
        with httpx.Client(timeout=0.3, trust_env=False) as client:
            first = next(check_server(client, target, now=datetime.now(UTC)))
    assert first.code == "no_answer_in_time"


def test_an_unknown_answer_is_shown_as_it_is(server: Server) -> None:
    server.replies[INFO] = html(418, "<b>I am   a teapot</b>")
    assert "418 text/html: '<b>I am a teapot</b>'" in ask(server)["mlflow-answers"].message


def test_a_token_that_a_server_repeats_is_not_shown(server: Server) -> None:
    token = jwt(iss=server.issuer)
    server.replies[INFO] = html(418, f"you sent {token}")
    message = ask(server, token=token)["mlflow-answers"].message
    assert "[hidden]" in message
    assert token not in message


@pytest.mark.parametrize(
    ("mark", "problem"),
    [("\u201c", "quotes"), ("\x00", "white_space"), ("\x7f", "white_space"), ("\u2026", "not_a_jwt")],
)
def test_a_token_that_cannot_be_sent_is_a_finding(mark: str, problem: str, server: Server) -> None:
    assert ask(server, token=f"{jwt()}{mark}")["proxy-accepts-token"].code == f"token_{problem}"


RUNS = "/api/2.0/mlflow/runs/"


@pytest.mark.parametrize(
    ("uri", "artifact", "status", "code"),
    [
        ("mlflow-artifacts:/1/a/artifacts", 200, Status.PASSED, ""),
        ("mlflow-artifacts:/1/a/artifacts", 500, Status.FAILED, "artifact_not_written"),
        ("s3://bucket/1", 200, Status.WARNED, "artifact_storage_not_tried"),
    ],
)
def test_the_finding_names_what_was_written_and_what_was_not_tried(
    uri: str, artifact: int, status: Status, code: str, server: Server
) -> None:
    server.replies["/api/2.0/mlflow/experiments/get-by-name"] = of_json(200, {"experiment": {"experiment_id": "1"}})
    server.replies[f"{RUNS}create"] = of_json(200, {"run": {"info": {"run_id": "r", "artifact_uri": uri}}})
    server.replies[f"{RUNS}delete"] = of_json(200, {})
    server.replies["/api/2.0/mlflow-artifacts/artifacts/1/a/artifacts/check.txt"] = of_json(artifact, {})
    target = Target(uri=server.url, workspace="team-a", token=jwt(iss=server.issuer))
    with httpx.Client(timeout=DEADLINE, trust_env=False) as client:
        found = {finding.check: finding for finding in check_server(client, target, now=datetime.now(UTC), write=True)}
    assert (found["run-written"].status, found["run-written"].code or "") == (status, code)
    directly = "Clients write artifacts directly to s3, which was not tried." in found["run-written"].message
    assert directly == (code == "artifact_storage_not_tried")


def test_a_run_that_was_made_in_an_unknown_way_is_shown_as_it_is(server: Server) -> None:
    server.replies["/api/2.0/mlflow/experiments/get-by-name"] = of_json(200, {"experiment": {"experiment_id": "1"}})
    server.replies[f"{RUNS}create"] = of_json(200, {})
    target = Target(uri=server.url, workspace="team-a", token=jwt(iss=server.issuer))
    with httpx.Client(timeout=DEADLINE, trust_env=False) as client:
        *_, written = check_server(client, target, now=datetime.now(UTC), write=True)
    assert written.code == "unexpected_answer"
