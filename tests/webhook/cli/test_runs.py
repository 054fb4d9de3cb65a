"""`runs` without a cluster: wrong calls, a server that refuses, what a terminal gets."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.cluster import Cluster
from tests.support.dex import Dex, jwt
from tests.support.proxy import Reply, Server, of_json
from tests.webhook.runs.runs import document
from webhook.cli import cli

RUNS, EXPERIMENTS = "/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/experiments/search"
PAGE = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()


@pytest.fixture
def server(dex: Dex) -> Iterator[Server]:
    made = Server()
    made.issuer = dex.issuer
    made.replies = {
        EXPERIMENTS: of_json(200, {"experiments": [{"experiment_id": "1", "name": "e"}]}),
        RUNS: of_json(200, {"runs": [document("a", metrics={"loss": 0.5})]}),
    }
    yield made
    made.stop()


def show(server: Server, *arguments: str, token: str = "", **variables: str) -> Result:
    environment = {"MLFLOW_TRACKING_TOKEN": token, "MLFLOW_WORKSPACE": "team-a", **variables}
    result = CliRunner(env=environment).invoke(cli, ["runs", *arguments, "--no-cluster", "--url", server.url])
    assert not token or token not in result.output
    assert isinstance(result.exception, SystemExit | None)
    return result


@pytest.mark.parametrize(
    "arguments",
    [
        ["job", "x"],
        ["run"],
        ["run", "x' OR 'a' = 'a"],
        ["run", "x", "--no-cluster"],
        ["team-a", "--workspace", "Team A"],
        ["team-a", "--mlflow-url", "mlflow.example.com"],
        ["team-a", "--mlflow-url", "https://m/{namespace}"],
    ],
)
def test_a_wrong_call_of_runs_fails_before_any_request(arguments: list[str], tmp_path: Path) -> None:
    command = ["runs", *arguments, "--kubeconfig", str(tmp_path / "nowhere")]
    assert CliRunner().invoke(cli, command).exit_code == 2


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["runs", "run", "x", "--kubeconfig", str(tmp_path / "nowhere")])
    assert result.exit_code == 1
    assert f"kubeconfig {tmp_path / 'nowhere'} not found" in result.stderr


def test_a_good_token_finds_the_runs(server: Server) -> None:
    result = show(server, "run", "x", token=jwt(iss=server.issuer))
    assert result.exit_code == 0, result.output
    assert re.search(r"^run-a +- +FINISHED +2025-11-24 16:00 +1 min +- +0.5$", result.stdout, re.MULTILINE)


def test_a_refused_token_is_reported_as_by_check(server: Server) -> None:
    result = show(server, "run", "x", token=jwt(iss=server.issuer, exp=int(time.time()) - 60))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "token_expired; see docs/checks.md#proxy-accepts-token" in result.stderr
    assert "do: mlflow-webhook token refresh" in result.stderr


def test_a_missing_token_is_reported_as_by_check(server: Server) -> None:
    result = show(server, "run", "x")
    assert result.exit_code == 1
    assert "see docs/checks.md#proxy-accepts-token" in result.stderr


def test_a_token_that_expires_during_the_search_is_reported(server: Server) -> None:
    server.replies[RUNS] = of_json(401, {})
    result = show(server, "run", "x", token=jwt(iss=server.issuer))
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert "401" in result.stderr


def test_a_missing_server_is_named(server: Server) -> None:
    server.stop()
    result = show(server, "run", "x")
    assert result.exit_code == 1
    assert "server-reachable: Connection refused: nothing listens at 127.0.0.1" in result.stderr


def test_control_characters_from_a_server_are_escaped(server: Server) -> None:
    server.proxied = False
    error = {"code": "UNAUTHENTICATED", "message": "no \x1b[2J\u202e\r way"}
    server.replies[EXPERIMENTS] = of_json(401, {"error": error})
    result = show(server, "run", "x")
    assert result.exit_code == 1
    assert "no \\x1b[2J\\u202e\\r way" in result.stderr


def test_watching_continues_with_the_secrets_new_token(
    server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.objects["/api/v1/namespaces/team-a"] = {"metadata": {"name": "team-a"}}
    cluster.put(jwt(iss=server.issuer).encode())
    server.replies[RUNS] = of_json(200, {"runs": [document(status="RUNNING")]})
    answer, new = server.answer, jwt(iss=server.issuer, sub="somebody")

    def refuse(path: str, headers: dict[str, str]) -> Reply:
        return answer(path, headers) if headers.get("authorization") == f"Bearer {new}" else of_json(401, {})

    def wait(_seconds: float) -> None:
        monkeypatch.setattr(server, "answer", refuse)
        cluster.put(new.encode())
        server.replies[RUNS] = of_json(200, {"runs": [document()]})

    monkeypatch.setattr("webhook.cli.runs.time.sleep", wait)
    command = ["runs", "run", "x", "--watch", "--url", server.url, "--kubeconfig", str(cluster.kubeconfig)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert re.findall("RUNNING|FINISHED", result.stdout) == ["RUNNING", "FINISHED"]


@pytest.mark.parametrize("status", [502, 503])
def test_watching_continues_while_the_server_restarts_but_not_forever(
    server: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.proxied = False
    server.replies[RUNS] = of_json(200, {"runs": [document(status="RUNNING")]})
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        server.replies[RUNS] = of_json(status, {})

    monkeypatch.setattr("webhook.cli.runs.time.sleep", wait)
    result = show(server, "run", "x", "--watch")
    assert result.exit_code == 1
    assert str(status) in result.stderr
    assert sum(pauses) > 60


def test_watching_on_a_terminal_draws_in_place_and_leaves_the_last_table(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.proxied = False
    server.replies[RUNS] = of_json(200, {"runs": [document(status="RUNNING")]})

    def end(_seconds: float) -> None:
        server.replies[RUNS] = of_json(200, {"runs": [document(), document("b", parent="a")]})

    monkeypatch.setattr("webhook.cli.runs.time.sleep", end)
    result = show(server, "run", "x", "--watch", FORCE_COLOR="1", TERM="xterm", COLUMNS="80")
    assert result.exit_code == 0
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", result.stdout).splitlines()[-3:]
    assert [line.split()[0] for line in last] == ["NAME", "run-a", "run-b"]


def test_watching_with_json_prints_one_array_at_the_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.proxied = False
    server.replies[RUNS] = of_json(200, {"runs": [document(status="RUNNING")]})

    def end(_seconds: float) -> None:
        server.replies[RUNS] = of_json(200, {"runs": [document()]})

    monkeypatch.setattr("webhook.cli.runs.time.sleep", end)
    (run,) = json.loads(show(server, "run", "x", "--watch", "-o", "json").stdout)
    assert run["status"] == "FINISHED"


def test_the_last_table_stays_when_watching_is_interrupted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.proxied = False
    server.replies[RUNS] = of_json(200, {"runs": [document(status="RUNNING")]})

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webhook.cli.runs.time.sleep", interrupt)
    result = show(server, "run", "x", "--watch", FORCE_COLOR="1", TERM="xterm")
    assert result.exit_code == 1
    assert "RUNNING" in result.stdout.splitlines()[-1]


def test_a_terminal_sees_how_many_runs_have_been_read(server: Server) -> None:
    server.proxied = False
    runs = [document(str(number)) for number in range(1234)]
    server.replies[RUNS] = of_json(200, {"runs": runs})
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm"}
    assert "1,234 runs read" in show(server, "run", "x", **terminal).stderr
    server.replies[RUNS] = of_json(200, {"runs": [document(metrics={"loss": 1})]})
    server.replies["/api/2.0/mlflow/metrics/get-history"] = of_json(200, {"metrics": [{"key": "loss", "value": 1}]})
    assert "1 runs read, 1 of 1 curves" in show(server, "run", "x", "--plot", "loss", **terminal).stderr
    assert show(server, "run", "x", FORCE_COLOR="", TERM="dumb").stderr == ""


def test_scripts_get_json_only_on_standard_output(server: Server) -> None:
    server.proxied = False
    (run,) = json.loads(show(server, "run", "x", "-o", "json", "--mlflow-url", "https://m").stdout)
    assert run["link"] == "https://m/#/experiments/1/runs/a?workspace=team-a"


def test_the_page_has_every_key(server: Server) -> None:
    server.proxied = False
    (run,) = json.loads(show(server, "run", "x", "-o", "json").stdout)
    keys = "".join(re.findall(r"^\| (`.*?) \|", PAGE.partition("## JSON")[2], re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", keys)) == sorted(run)


def test_the_page_has_every_reason() -> None:
    folder = Path(__file__).parents[3] / "webhook" / "runs"
    sources = "".join(file.read_text() for file in folder.glob("*.py"))
    codes = set(re.findall(r'Cause\(\s*"([a-z_]+)"', sources)) | {"cached_or_starting"}
    rows = re.findall(r"^\| `([a-z_]+)` \|", PAGE.partition("## No runs")[2].partition("## JSON")[0], re.MULTILINE)
    assert sorted(rows) == sorted(codes)
