from __future__ import annotations

import json
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.dex import CLIENT_ID, CLIENT_SECRET, PASSWORD, USERNAME, Answer, Dex, jwt
from tests.support.environment import bare
from webhook.cli.token import token

ROOT = Path(__file__).parents[3]
CREDENTIALS: dict[str, str | bytes] = {
    "MLFLOW_TOKEN_USERNAME": USERNAME,
    "MLFLOW_TOKEN_PASSWORD": PASSWORD,
    "MLFLOW_TOKEN_CLIENT_ID": CLIENT_ID,
    "MLFLOW_TOKEN_CLIENT_SECRET": CLIENT_SECRET,
}


class Cluster:
    """Holds Secrets as an API server does, as far as `token` asks; the real one is in tests/cluster."""

    def __init__(self, folder: Path) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.kubeconfig = folder / "kubeconfig"
        server = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        config = {
            "current-context": "a",
            "clusters": [{"name": "a", "cluster": server}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "team-a"}}],
            "users": [{"name": "a", "user": {}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def put(self, token: bytes) -> None:
        self.secrets["mlflow-token"] = {"metadata": {}, "data": {"token": b64encode(token).decode()}}


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = cluster.secrets.get(self.path.rpartition("/")[2])
            self._send(200 if found else 404, found or {"message": "not found"})

        def do_PATCH(self) -> None:
            found, body = cluster.secrets.get(self.path.rpartition("/")[2]), self._body()
            if found:
                found["data"] |= body["data"]
            self._send(200 if found else 404, found or {"message": "not found"})

        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/events"):
                cluster.events.append(body)
            else:
                cluster.secrets[body["metadata"]["name"]] = body
            self._send(201, body)

        def _body(self) -> dict[str, Any]:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            return body

        def _send(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base class
            pass

    return Handler


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def dex() -> Iterator[Dex]:
    stand_in = Dex()
    yield stand_in
    stand_in.stop()


def run(
    cluster: Cluster, *arguments: str, given: bytes = b"", **environment: str | bytes
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own. Nothing it prints may hold a secret, nor a traceback."""
    variables: dict[str, str | bytes] = {
        **bare(KUBECONFIG=str(cluster.kubeconfig), PYTHONPATH=str(ROOT)),
        **environment,
    }
    command = [sys.executable, "-m", "webhook.cli", "token", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=60, env=variables)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert not any(secret in out + err for secret in (PASSWORD, CLIENT_SECRET, "planted", "eyJ"))
    assert "Traceback" not in err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def refresh(
    cluster: Cluster, dex: Dex, *arguments: str, **environment: str | bytes
) -> subprocess.CompletedProcess[str]:
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
    "a name that is no address": {"arguments": ["--issuer=dex"]},
}


def test_every_failure_is_one_line_of_its_own_without_a_secret_and_the_old_token_stays(
    cluster: Cluster, dex: Dex
) -> None:
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
    assert "The token ended" in cluster.events[0]["message"]


def test_bytes_that_are_no_text_are_no_token(cluster: Cluster) -> None:
    cluster.put(b"\xff\xfe")
    for done in (run(cluster, "show"), run(cluster, "show", "--file=-", given=b"\xff\xfe")):
        assert done.returncode == 3
        assert "not a JSON web token" in done.stdout


def test_a_script_reads_what_is_wrong_with_a_token(cluster: Cluster) -> None:
    done = run(cluster, "show", "-o", "json", "--file=-", given=b"rubbish")
    assert done.returncode == 3
    assert json.loads(done.stdout)["problem"] == "not_a_jwt"


def test_an_unverified_email_is_refused_unless_the_proxy_takes_it(cluster: Cluster, dex: Dex) -> None:
    dex.token = jwt(email_verified=False)
    refused = refresh(cluster, dex)
    assert refused.returncode == 1
    assert "email_verified: false" in refused.stderr
    assert refresh(cluster, dex, MLFLOW_TOKEN_ALLOW_UNVERIFIED_EMAIL="true").returncode == 0
    assert run(cluster, "show").returncode == 3
    assert run(cluster, "show", "--allow-unverified-email").returncode == 0


def test_the_ca_beside_the_credentials_is_used(cluster: Cluster, dex: Dex, tmp_path: Path) -> None:
    Path(tmp_path, "ca.crt").write_text("rubbish")
    done = refresh(cluster, dex, f"--credentials={tmp_path}")
    assert f"{tmp_path / 'ca.crt'} holds no certificate in PEM" in done.stderr


def test_no_option_takes_a_secret_for_the_process_list_to_show() -> None:
    options = {parameter.name for parameter in token.commands["refresh"].params}
    assert "credentials" in options
    assert not options & {"username", "password", "client_id", "client_secret", "token"}


def test_claims_cannot_steer_the_terminal(cluster: Cluster) -> None:
    done = run(cluster, "show", "--file=-", given=jwt(email="a\x1b[2J\nissuer forged").encode())
    assert "\x1b" not in done.stdout
    assert not any(line.startswith("issuer forged") for line in done.stdout.splitlines())


@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1080", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_named(proxy: str, cluster: Cluster) -> None:
    done = run(cluster, "show", ALL_PROXY=proxy)
    assert done.returncode == 1
    assert "ALL_PROXY" in done.stderr
