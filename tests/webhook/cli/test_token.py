"""`token`: what it prints, and what is in the Secret afterwards."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from tests.support.cluster import Cluster
from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, Answer, Dex, jwt
from tests.support.environment import bare
from webhook.cli.token import token

CREDENTIALS: dict[str, str | bytes] = {
    "MLFLOW_TOKEN_USERNAME": USERNAME,
    "MLFLOW_TOKEN_PASSWORD": PASSWORD,
    "MLFLOW_TOKEN_CLIENT_ID": CLIENT_ID,
    "MLFLOW_TOKEN_CLIENT_SECRET": CLIENT_SECRET,
}


@pytest.fixture
def dex() -> Iterator[Dex]:
    stand_in = Dex()
    yield stand_in
    stand_in.stop()


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(cluster: Cluster, *arguments: str, given: bytes = b"", **environment: str | bytes) -> Done:
    """Run the command with these variables and no others. It prints no secret, and raises nothing."""
    variables = {**bare(KUBECONFIG=str(cluster.kubeconfig)), **environment}
    with patch.dict(os.environ, {name: os.fsdecode(value) for name, value in variables.items()}, clear=True):
        result = CliRunner().invoke(token, list(arguments), input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not any(secret in result.output for secret in (PASSWORD, CLIENT_SECRET, "planted", "eyJ"))
    return Done(result.exit_code, result.stdout, result.stderr)


def refresh(cluster: Cluster, dex: Dex, *arguments: str, **environment: str | bytes) -> Done:
    options = ("--force", f"--issuer={dex.issuer}", "--attempts=1", *arguments)
    variables: dict[str, Any] = {**CREDENTIALS, **environment}
    return run(cluster, "refresh", *options, **variables)


ECHO = Answer(
    400,
    json.dumps({"error": "x", "error_description": f"got {PASSWORD} {CLIENT_SECRET}"}).encode(),
    {"Content-Type": "application/json"},
)
FAULTS: dict[str, dict[str, Any]] = {
    "the server repeats what it was sent": {"answers": [ECHO]},
    "a password in the issuer": {"arguments": ["--issuer=http://bob:planted@127.0.0.1:1/dex"]},
    "a password that is not UTF-8": {"environment": {"MLFLOW_TOKEN_PASSWORD": b"planted\xff"}},
    "a wrong password": {"environment": {"MLFLOW_TOKEN_PASSWORD": "planted-wrong"}},
    "a wrong client": {"environment": {"MLFLOW_TOKEN_CLIENT_SECRET": "planted-wrong"}},
    "another audience": {"arguments": ["--audience=other"]},
    "no token": {"token": "planted-rubbish"},
    "a newline": {"token": jwt() + "\n"},
    "a name instead of an address": {"arguments": ["--issuer=dex"]},
}


def test_every_failure_has_a_distinct_line_without_a_secret_and_the_old_token_stays(cluster: Cluster, dex: Dex) -> None:
    old = jwt().encode()
    cluster.put(old)
    said = set()
    for name, fault in FAULTS.items():
        dex.answers, dex.token = list(fault.get("answers", [])), fault.get("token")
        done = refresh(cluster, dex, *fault.get("arguments", []), **fault.get("environment", {}))
        assert (done.returncode, done.stdout) == (1, ""), name
        assert done.stderr.count("\n") == 1, name
        said.add(done.stderr)
    assert len(said) == len(FAULTS)
    assert cluster.secrets["mlflow-token"]["data"]["token"] == b64encode(old).decode()


def test_a_token_that_has_ended_and_does_not_say_when_it_began_is_an_event(cluster: Cluster, dex: Dex) -> None:
    cluster.put(jwt(iat=None, exp=1).encode())
    assert refresh(cluster, dex, "--event", MLFLOW_TOKEN_PASSWORD="wrong").returncode == 1
    assert "The token in the Secret expired" in cluster.events[0]["message"]


def test_a_missing_secret_and_a_wrong_password_are_both_reported(cluster: Cluster, dex: Dex) -> None:
    done = refresh(cluster, dex, MLFLOW_TOKEN_PASSWORD="wrong")
    assert done.returncode == 1
    assert "Dex refused the user name or the password" in done.stderr
    assert done.stderr.endswith("The Secret has no token yet.\n")


def keep(cluster: Cluster, dex: Dex, *arguments: str, **environment: str) -> tuple[str, str]:
    """Refresh if it is time; return the outcome and why."""
    variables: dict[str, Any] = {**CREDENTIALS, **environment}
    done = run(cluster, "refresh", "-o", "json", f"--issuer={dex.issuer}", "--attempts=1", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found["outcome"], found["why"]


def test_a_token_is_replaced_once_when_the_settings_have_changed(cluster: Cluster, dex: Dex) -> None:
    cluster.put(jwt(iss="http://old/dex").encode())
    assert keep(cluster, dex)[0] == "renewed"
    assert keep(cluster, dex)[0] == "kept"
    cluster.put(jwt(iss=dex.issuer, email="bob@example.com").encode())
    outcome, why = keep(cluster, dex)
    assert (outcome, "bob@example.com's, and the user name now is alice@example.com" in why) == ("renewed", True)
    assert keep(cluster, dex)[0] == "kept"
    cluster.put(jwt(iss=dex.issuer, kid="1" * 40).encode())
    assert "no longer has the key" in keep(cluster, dex)[1]
    assert keep(cluster, dex)[0] == "kept"
    assert "the scope now is" in keep(cluster, dex, "--scope=openid email")[1]
    assert keep(cluster, dex, "--scope=email openid")[0] == "kept"


def test_a_dex_that_is_reached_at_another_address_is_the_same(cluster: Cluster, dex: Dex) -> None:
    cluster.put(jwt(iss=dex.issuer).encode())
    alias = f"--issuer={dex.issuer.replace('127.0.0.1', 'localhost')}"
    assert keep(cluster, dex, alias) == ("kept", "it is still fresh")


def test_a_fresh_token_needs_no_dex_and_no_credentials_to_be_kept(cluster: Cluster) -> None:
    cluster.put(jwt().encode())
    done = run(cluster, "refresh", "--issuer=http://127.0.0.1:1/dex")
    assert done.returncode == 0
    assert "kept (it is still fresh); alice@example.com's token expires in 23 h 59 min" in done.stdout


def test_a_user_name_that_is_not_the_address_in_the_token_does_not_mint_one_each_time(
    cluster: Cluster, dex: Dex
) -> None:
    dex.claims = {"email": "alice.smith@example.com"}
    assert keep(cluster, dex)[0] == "created"
    assert keep(cluster, dex)[0] == "kept"


def test_a_token_that_was_cut_off_is_shown_and_replaced(cluster: Cluster, dex: Dex) -> None:
    for cut in (1, 3, 200):
        cluster.put(jwt(iss=dex.issuer)[:-cut].encode())
        done = run(cluster, "show")
        assert done.returncode == 3
        assert "It was probably cut off when it was copied." in done.stdout
        assert keep(cluster, dex) == (
            "renewed",
            "the old one is not valid: The token is not complete: the length of its signature, the last part, does not "
            "fit its algorithm. It was probably cut off when it was copied",
        )


def test_a_token_without_an_address_is_good_with_a_warning(cluster: Cluster, dex: Dex) -> None:
    dex.claims = {"email": None}
    done = refresh(cluster, dex)
    assert done.returncode == 0
    assert done.stderr.startswith("Warning: The token has no e-mail address, so MLflow shows CiQw")
    done = run(cluster, "show")
    assert done.returncode == 0
    assert "  warning   The token has no e-mail address" in done.stdout


def test_bytes_that_are_not_text_are_not_a_token(cluster: Cluster) -> None:
    cluster.put(b"\xff\xfe")
    for done in (run(cluster, "show"), run(cluster, "show", "--file=-", given=b"\xff\xfe")):
        assert done.returncode == 3
        assert "not a JSON web token" in done.stdout


def test_a_script_reads_what_is_wrong_with_a_token(cluster: Cluster) -> None:
    done = run(cluster, "show", "-o", "json", "--file=-", given=b"rubbish")
    assert done.returncode == 3
    assert json.loads(done.stdout)["problem"] == "not_a_jwt"


def test_an_unverified_email_is_refused_unless_it_is_allowed(cluster: Cluster, dex: Dex) -> None:
    dex.token = jwt(email_verified=False)
    refused = refresh(cluster, dex)
    assert refused.returncode == 1
    assert "email_verified: false" in refused.stderr
    assert refresh(cluster, dex, MLFLOW_TOKEN_ALLOW_UNVERIFIED_EMAIL="true").returncode == 0
    assert run(cluster, "show").returncode == 3
    assert run(cluster, "show", "--allow-unverified-email").returncode == 0


def test_the_ca_in_the_folder_of_the_credentials_is_used(cluster: Cluster, dex: Dex, tmp_path: Path) -> None:
    Path(tmp_path, "ca.crt").write_text("rubbish")
    done = refresh(cluster, dex, f"--credentials={tmp_path}")
    assert f"{tmp_path / 'ca.crt'} contains no certificate in PEM" in done.stderr


def test_no_option_takes_a_secret_because_the_process_list_would_show_it() -> None:
    options = {parameter.name for parameter in token.commands["refresh"].params}
    assert "credentials" in options
    assert not options & {"username", "password", "client_id", "client_secret", "token"}


def test_control_characters_in_claims_are_escaped(cluster: Cluster) -> None:
    done = run(cluster, "show", "--file=-", given=jwt(email="a\x1b[2J\nissuer forged").encode())
    assert "a\\x1b[2J\\nissuer forged" in done.stdout
    assert not any(line.startswith("issuer forged") for line in done.stdout.splitlines())


@pytest.mark.filterwarnings("ignore:SOCKS support")
@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1080", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_named(proxy: str, cluster: Cluster) -> None:
    done = run(cluster, "show", ALL_PROXY=proxy)
    assert done.returncode == 1
    assert "ALL_PROXY" in done.stderr
