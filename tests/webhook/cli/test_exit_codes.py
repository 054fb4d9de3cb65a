"""The exit codes of every command: 0 no problem, 3 problem found, 1 failed, 2 invalid usage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from tests.support.cluster import Cluster
from tests.support.dex import jwt
from tests.support.pods import FOLDER, KFP
from tests.webhook.cli.calling import LABELLED, call
from webhook.cli import cli

ROOT = Path(__file__).parents[3]
FILE = str(FOLDER / KFP)
POD = "/api/v1/namespaces/team-a/pods"


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.fixture
def kubeconfig(cluster: Cluster) -> str:
    """A cluster with a good token, one that has expired, a pod that is as it should be, and one that was missed."""
    cluster.put(jwt().encode())
    cluster.put(jwt(exp=1).encode(), name="expired")
    cluster.objects = {
        "/api/v1/namespaces/team-a": {"metadata": {"name": "team-a"}},
        f"{POD}/fine": pod("fine"),
        f"{POD}/missed": pod("missed", **{"mlflow-enabled": "true"}),
    }
    return str(cluster.kubeconfig)


CALLS: dict[str, dict[int, list[str]]] = {
    "explain": {0: ["-f", FILE, *LABELLED], 3: ["-f", FILE], 1: ["-f", "nowhere"], 2: []},
    "inject": {0: ["-f", FILE], 1: ["-f", "nowhere"], 2: ["-f", FILE, "-o", "xml"]},
    "check": {0: ["pod", "fine"], 3: ["pod", "missed"], 1: ["pod", "nowhere"], 2: ["pod"]},
    "check team-a": {1: ["--ca-file", "nowhere"], 2: ["--wait", "nan"]},
    "check team-a --ca-file": {1: [FILE]},
    "runs team-a --ca-file": {1: [str(FOLDER)]},
    "runs": {1: ["team-a", "--url", "http://127.0.0.1:1"], 2: ["run"]},
    "token show": {0: [], 3: ["--secret", "expired"], 1: ["--secret", "nowhere"], 2: ["--secret", "a/b/c"]},
    "token show -f": {1: ["nowhere"], 3: [FILE]},
    "token refresh": {0: ["--issuer", "http://127.0.0.1:1/dex"], 1: ["--issuer", "dex"], 2: []},
    "token refresh --issuer http://127.0.0.1:1/dex": {1: ["--ca-file", "nowhere"], 2: ["--attempts", "0"]},
    "token refresh --issuer http://127.0.0.1:1/dex --force": {1: ["--ca-file", FILE]},
    "token refresh --issuer http://127.0.0.1:1/dex --credentials": {1: ["nowhere"]},
    "serve": {1: ["--standalone", "--config", "nowhere"], 2: ["--ca-file", "ca.crt"]},
    "serve --config": {1: [str(FOLDER)]},
    "serve --standalone --namespaces": {1: ["nowhere"]},
    "serve --standalone --ca-file": {1: [str(FOLDER)]},
    "explain -f": {1: [FILE, "--config", str(FOLDER)]},
}
NEED_A_CLUSTER = {"check", "runs", "token"}


@pytest.mark.parametrize(("command", "code"), [(command, code) for command in CALLS for code in CALLS[command]])
def test_a_command_exits_with_the_code_that_all_use(command: str, code: int, kubeconfig: str) -> None:
    options = ["--kubeconfig", kubeconfig] if command.split()[0] in NEED_A_CLUSTER else []
    result = call(*command.split(), *CALLS[command][code], *options)
    assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("check --wait x", "'x': expected a number of seconds from 0 to 3600"),
        ("check --wait nan", "'nan': expected a number of seconds from 0 to 3600"),
        ("runs --timeout 99", "'99': expected a number of seconds from 0.1 to 60"),
        ("token refresh --issuer x --timeout 0", "'0': expected a number of seconds from 0.1 to 300"),
        ("token refresh --issuer x --after x", "'x': expected a number from 0 to 1"),
        ("token refresh --issuer x --attempts 1.5", "'1.5': expected a whole number from 1 to 10"),
    ],
)
def test_an_invalid_number_is_answered_with_what_is_allowed(line: str, message: str) -> None:
    result = call(*line.split())
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("check --ca-file nowhere", "Error: --ca-file: File 'nowhere' does not exist."),
        (f"check --ca-file {FILE}", f"Error: {FILE} contains no certificate in PEM form"),
        ("token refresh --issuer x --credentials nowhere", "Error: --credentials: Directory 'nowhere' does not exist."),
    ],
)
def test_a_file_that_cannot_be_used_is_named(line: str, message: str) -> None:
    assert call(*line.split()).stderr == f"{message}\n"


def test_a_check_without_rights_fails_because_it_could_not_check(cluster: Cluster, kubeconfig: str) -> None:
    cluster.forbidden = {"/api/v1/namespaces/team-a"}
    result = call("check", "pod", "missed", "--kubeconfig", kubeconfig)
    assert result.exit_code == 1
    assert "you may not read the namespace team-a" in result.stdout


def test_the_calls_are_of_every_command() -> None:
    commands = cli.list_commands(click.Context(cli))
    assert {command.split()[0] for command in CALLS} == set(commands)


@pytest.mark.parametrize("command", ["explain", "inject", "check", "runs", "token show", "token refresh"])
def test_the_help_of_a_command_has_the_codes(command: str) -> None:
    words = " ".join(call(*command.split(), "--help").output.split())
    assert "Exit codes: 0 no problem, 3 problem found, 1 failed, 2 invalid usage." in words


def test_the_docs_have_the_codes() -> None:
    page = (ROOT / "docs" / "checks.md").read_text()
    section = page.partition("## Exit codes\n")[2].partition("\n## ")[0]
    assert [line[2] for line in section.splitlines() if line[:2] == "| " and line[2].isdigit()] == ["0", "3", "1", "2"]
