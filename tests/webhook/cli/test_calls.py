"""Wrong calls and settings of any command, and what a terminal gets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pods import FOLDER, KFP
from tests.webhook.cli.calling import LABELLED, call
from webhook.cli.sections import print_text
from webhook.doctor.findings import Section, failed


def test_a_missing_file_and_a_wrong_flag_are_named() -> None:
    assert "cannot read nowhere" in call("explain", "-f", "nowhere").stderr
    assert "KEY=VALUE" in call("explain", "-f", "-", "--namespace-label", "x", text="").stderr


@pytest.mark.parametrize(
    "command",
    [["explain", "-f", "-"], ["inject", "-f", "-"], ["serve", "--standalone"], ["check"], ["runs"], ["token", "show"]],
)
@pytest.mark.parametrize("name", ["Team_A", "", "-a", "a" * 64, "a.b"])
def test_an_invalid_name_of_a_namespace_is_refused(command: list[str], name: str) -> None:
    result = call(*command, "--namespace", name)
    assert result.exit_code == 2
    assert f"{name!r} is not a valid name of a namespace" in result.stderr


@pytest.mark.parametrize("command", ["serve", "inject", "explain", "check", "runs", "token"])
def test_every_command_has_help(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert command in call("--help").output


@pytest.mark.parametrize(
    "arguments",
    [
        ["job", "x"],
        ["pod", "x", "y"],
        ["pod"],
        ["Team A"],
        ["team-a/pods"],
        ["pod", "x/log"],
        ["trainjob", "a,b"],
        ["team-a", "--namespace", "team-b"],
        ["team-a", "--url", "mlflow:5000"],
        ["team-a", "--url", "http://["],
    ],
)
def test_a_wrong_call_of_check_fails_before_any_request(arguments: list[str], tmp_path: Path) -> None:
    result = call("check", *arguments, "--kubeconfig", str(tmp_path / "nowhere"))
    assert result.exit_code == 2, result.output


def test_a_wrong_configuration_is_refused_before_serving(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("listenPort: many")
    result = call("serve", "--standalone", "--config", str(config))
    assert result.exit_code == 1
    assert 'listenPort: "many"' in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--standalone", "--context", "c", "--kubeconfig", "k"],
            "--kubeconfig, --context: not allowed with --standalone",
        ),
        (["--ca-file", "ca.pem"], "--ca-file: allowed only with --standalone"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments: list[str], sentence: str) -> None:
    result = call("serve", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_standalone_webhook_makes_its_own_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WEBHOOK_CERTIFICATES", "files")
    result = call("serve", "--standalone")
    assert result.exit_code == 1
    assert "certificates: files cannot be used with --standalone" in result.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: Pod", "expected Namespaces with a name"),
        ("kind: NamespaceList\nitems: []", "no Namespace found"),
        ("kind: List\nitems: [a]", "expected Namespaces with a name"),
        ("a: [", "not YAML at line 1"),
        (
            "kind: Namespace\nmetadata: {name: a, labels: {mlflow-enabled: true}}",
            'Namespace a: label mlflow-enabled is true, not a string: write "true" in quotation marks',
        ),
    ],
)
def test_a_wrong_file_of_namespaces_is_refused_before_serving(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "namespaces.yaml"
    file.write_text(text)
    result = call("serve", "--standalone", "--namespaces", str(file))
    assert result.exit_code == 1
    assert f"{file}: " in result.stderr
    assert sentence in result.stderr


@pytest.mark.parametrize("command", [["explain"], ["inject", "-o", "diff", *LABELLED]], ids=["explain", "inject"])
@pytest.mark.parametrize(("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "none"])
def test_there_are_colours_on_a_terminal_unless_they_are_not_wanted(
    command: list[str], variables: dict[str, str], *, colours: bool
) -> None:
    terminal, other_end = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    plugin = Path(sys.executable).with_name("kubectl-mlflow")
    subprocess.run(
        [str(plugin), *command, "-f", str(FOLDER / KFP)],
        stdout=other_end,
        env={**environment, "TERM": "xterm", **variables},
        check=False,
    )
    os.close(other_end)
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert b"mlflow-training-pipeline" in shown
    assert bool(re.search(rb"\x1b\[(\d;)?[39]\dm", shown)) is colours


def test_control_characters_from_a_server_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    finding = failed("check", "code", "you see \x1b[2J\x1b]0;owned\x07 \ud800[red]", "do \x9b")
    print_text([Section(name="server", subject="http://m", findings=[finding])])
    shown = capsys.readouterr().out
    assert "you see \\x1b[2J\\x1b]0;owned\\x07 \\ud800[red]" in shown
    assert "do \\x9b" in shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", [["explain"], ["inject", "-o", "diff", *LABELLED], ["inject"]])
def test_what_is_printed_is_utf_8_in_every_locale(command: list[str], encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text((FOLDER / KFP).read_text().replace("mlflow-training-pipeline", "m\u00fcnchen-\u221a"))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mlflow-webhook")), *command, "-f", str(file)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode in {0, 3}, done.stderr
    assert "m\u00fcnchen-\u221a".encode() in done.stdout
