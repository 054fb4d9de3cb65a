from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, Answer, Dex
from tests.support.waiting import DEADLINE
from webhook.token.claims import read_claims
from webhook.token.grant import Credentials, Endpoint, GrantError, mint

GOOD = Credentials(username=USERNAME, password=PASSWORD, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=DEADLINE, trust_env=False) as made:
        yield made


def ask(dex: Dex, client: httpx.Client, credentials: Credentials = GOOD, **endpoint: Any) -> str:
    pauses: list[float] = []
    return mint(Endpoint(issuer=dex.issuer, **endpoint), credentials, client=client, sleep=pauses.append)


@pytest.mark.parametrize("basic", [False, True])
def test_a_token_is_minted_with_the_client_in_the_body_or_in_a_header(
    basic: bool, dex: Dex, client: httpx.Client
) -> None:
    assert read_claims(ask(dex, client, basic=basic)).email == USERNAME
    assert ("client_secret" in dex.requests[0]) is not basic


def test_a_public_client_sends_no_secret(dex: Dex, client: httpx.Client) -> None:
    dex.public = True
    assert ask(dex, client, replace(GOOD, client_secret=""))
    with pytest.raises(GrantError, match="public client"):
        ask(dex, client)


def test_temporary_failures_are_retried_with_growing_pauses(dex: Dex, client: httpx.Client) -> None:
    dex.answers = [Answer(503), Answer(502), Answer(429)]
    pauses: list[float] = []
    assert mint(Endpoint(issuer=dex.issuer), GOOD, client=client, sleep=pauses.append)
    assert len(pauses) == 3
    assert all(0.8 * middle <= pause <= 1.2 * middle for pause, middle in zip(pauses, (1, 2, 4), strict=True))


def test_permanent_failures_are_not_retried(dex: Dex, client: httpx.Client) -> None:
    with pytest.raises(GrantError):
        ask(dex, client, replace(GOOD, password="wrong"))
    assert len(dex.requests) == 1


def test_it_gives_up_after_some_attempts(dex: Dex, client: httpx.Client) -> None:
    dex.answers = [Answer(503)] * 9
    with pytest.raises(GrantError, match="status 503"):
        ask(dex, client)
    assert len(dex.answers) == 5


JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
CASES: dict[str, dict[str, Any]] = {
    "access_denied": {"credentials": {"password": PASSWORD + "\n"}},
    "invalid_client": {"credentials": {"client_secret": "wrong"}},
    "scope_without_openid": {"endpoint": {"scope": "email"}},
    "scope_refused": {"endpoint": {"scope": "openid nonsense"}},
    "no_password_grant": {"password_grant": False},
    "not_a_token_endpoint": {"path": "/nowhere"},
    "redirect": {"answer": Answer(302, b"", {"Location": "http://u:secret=1@elsewhere/login?secret=1"})},
    "client_not_trusted": {
        "answer": Answer(
            400, b'{"error":"invalid_request","error_description":"Client can\'t request scope(s) [\\"other\\"]"}', JSON
        )
    },
    "plain_to_a_tls_port": {
        "answer": Answer(400, b"Client sent an HTTP request to an HTTPS server.\n", {"Content-Type": "text/plain"})
    },
    "badly_encoded": {
        "answer": Answer(
            400, b'{"error":"invalid_request","error_description":"client_secret improperly encoded"}', JSON
        )
    },
    "no_such_connector": {
        "answer": Answer(
            400, b'{"error":"invalid_request","error_description":"Requested connector does not exist."}', JSON
        )
    },
    "unavailable": {"answer": Answer(500, b"oh", HTML)},
    "no_id_token": {"answer": Answer(200, b'{"access_token":"x"}', JSON)},
    "refused": {"answer": Answer(400, b'{"error":"new_one","error_description":"of a later Dex"}', JSON)},
    "nothing_listens": {"port": 1},
    "name_does_not_resolve": {"host": "no-such-host.invalid"},
    "tls_to_a_plain_port": {"scheme": "https"},
    "no_answer_in_time": {"silent": True},
}


def provoke(case: dict[str, Any], dex: Dex, client: httpx.Client) -> GrantError:
    dex.password_grant = case.get("password_grant", True)
    dex.answers = [case["answer"]] * 4 if "answer" in case else []
    url = httpx.URL(dex.issuer)
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(8)
    port = silent.getsockname()[1] if case.get("silent") else case.get("port", url.port)
    url = url.copy_with(scheme=case.get("scheme", "http"), host=case.get("host", url.host), port=port)
    endpoint = Endpoint(issuer=str(url) + case.get("path", ""), **case.get("endpoint", {}))
    if case.get("silent"):
        client.timeout = 0.3
    try:
        with pytest.raises(GrantError) as caught:
            mint(
                endpoint, replace(GOOD, **case.get("credentials", {})), client=client, sleep=lambda _: None, attempts=1
            )
    finally:
        silent.close()
        client.timeout = DEADLINE
    return caught.value


def test_each_case_has_its_own_diagnosis_and_no_secret_is_in_any(dex: Dex, client: httpx.Client) -> None:
    messages = set()
    for code, case in CASES.items():
        error = provoke(case, dex, client)
        assert error.code == code
        assert "\n" not in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None, "httpx's exceptions hold the request, and that the password"
        assert not any(secret in repr(error) for secret in (PASSWORD, CLIENT_SECRET, "secret=1"))
        messages.add(str(error))
    assert len(messages) == len(CASES)


@pytest.mark.parametrize(
    ("issuer", "code"),
    [
        ("", "invalid_url"),
        ("dex.example.com/dex", "invalid_url"),
        ("localhost:5556/dex", "invalid_url"),
        ("http://127.0.0.1:99999/dex", "invalid_url"),
        ("http://[::1/dex", "invalid_url"),
        ("http://bob:planted@127.0.0.1/dex", "not_a_plain_url"),
        ("http://127.0.0.1/dex?key=planted", "not_a_plain_url"),
    ],
)
def test_an_invalid_issuer_is_refused_immediately(issuer: str, code: str, client: httpx.Client) -> None:
    with pytest.raises(GrantError) as caught:
        mint(Endpoint(issuer=issuer), GOOD, client=client, sleep=lambda _: pytest.fail("it was tried again"))
    assert caught.value.code == code
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("sent", [PASSWORD, quote(PASSWORD), quote_plus(CLIENT_SECRET)])
def test_a_secret_that_a_server_repeats_is_not_printed(sent: str, dex: Dex, client: httpx.Client) -> None:
    answer = {"error": f"bad {sent}", "error_description": f"cannot read {sent}"}
    dex.answers = [Answer(400, json.dumps(answer).encode(), JSON)]
    with pytest.raises(GrantError, match="cannot read") as caught:
        ask(dex, client)
    assert sent not in str(caught.value)


def test_credentials_do_not_show() -> None:
    assert "planted" not in repr(GOOD)
