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
    "runs": {1: ["team-a", "--url", "http://127.0.0.1:1"], 2: ["run"]},
    "token show": {0: [], 3: ["--secret", "expired"], 1: ["--secret", "nowhere"], 2: ["--secret", "a/b/c"]},
    "token show -f": {1: ["nowhere"], 3: [FILE]},
    "token refresh": {0: ["--issuer", "http://127.0.0.1:1/dex"], 1: ["--issuer", "dex", "--force"], 2: []},
    "serve": {1: ["--standalone", "--config", "nowhere"], 2: ["--ca-file", "ca.crt"]},
}
NEED_A_CLUSTER = {"check", "runs", "token show", "token refresh"}


@pytest.mark.parametrize(("command", "code"), [(command, code) for command in CALLS for code in CALLS[command]])
def test_a_command_exits_with_the_code_that_all_use(command: str, code: int, kubeconfig: str) -> None:
    options = ["--kubeconfig", kubeconfig] if command in NEED_A_CLUSTER else []
    result = call(*command.split(), *CALLS[command][code], *options)
    assert result.exit_code == code, result.output


def test_a_check_that_may_read_nothing_has_not_looked(cluster: Cluster, kubeconfig: str) -> None:
    cluster.forbidden = {"/api/v1/namespaces/team-a"}
    result = call("check", "pod", "missed", "--kubeconfig", kubeconfig)
    assert result.exit_code == 1
    assert "you may not read the namespace team-a" in result.stdout


def test_the_calls_are_of_every_command() -> None:
    commands = cli.list_commands(click.Context(cli))
    assert {command.split()[0] for command in CALLS} == set(commands)


@pytest.mark.parametrize("command", sorted({command.removesuffix(" -f") for command in CALLS} - {"serve"}))
def test_the_help_of_a_command_has_the_codes(command: str) -> None:
    words = " ".join(call(*command.split(), "--help").output.split())
    assert "Exit codes: 0 no problem, 3 problem found, 1 failed, 2 invalid usage." in words


def test_the_docs_have_the_codes() -> None:
    page = (ROOT / "docs" / "checks.md").read_text()
    section = page.partition("## Exit codes\n")[2].partition("\n## ")[0]
    assert [line[2] for line in section.splitlines() if line[:2] == "| " and line[2].isdigit()] == ["0", "3", "1", "2"]
