"""The demo: it ends with the runs of its pipeline run as on the page about `runs`, or stays until Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest
from click.testing import CliRunner

from demo.__main__ import demo
from tests.support.training import NEEDS_MLFLOW, ROOT

pytestmark = NEEDS_MLFLOW
PAGE = ROOT / "docs" / "runs.md"


def test_with_keep_the_demos_server_runs_until_ctrl_c() -> None:
    """Without its stories, which the test of the page about `runs` checks."""
    # what starts the tests in the background may have SIGINT ignored, and that is inherited
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import demo.__main__ as main; main._run_stories = lambda *_, **__: None; main.demo()"
    )
    command = [sys.executable, "-c", code, "--keep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        ui = next(line.split()[2] for line in process.stdout if line.startswith("MLflow's UI: "))
        assert "<title>MLflow</title>" in httpx.get(ui, trust_env=False, timeout=120).text
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(ui, trust_env=False)


def plain(transcript: str) -> list[list[str]]:
    """Return the words of a transcript, without what differs from time to time."""
    for pattern, word in {
        r"http://127\.0\.0\.1:\d+|https://mlflow\.example\.com": "SERVER",
        r"\b[0-9a-f]{32}\b": "ID",
        r"\d{4}-\d\d-\d\d \d\d:\d\d": "TIME",
        r"  \d+ s  +\S+  ": "  TAKEN USER  ",
    }.items():
        transcript = re.sub(pattern, word, transcript)
    return [line.split() for line in transcript.strip().splitlines()]


def test_the_demo_ends_with_the_runs_of_its_pipeline_run_as_on_the_page() -> None:
    """Run with UPDATE_REFERENCE=1 to write the page again."""
    result = CliRunner().invoke(demo)
    assert result.exit_code == 0, result.output[-3000:]
    assert "KFP component: its run is in MLflow" in result.output
    assert "TrainJob node: its run is in MLflow" in result.output
    shown = re.findall(r"^(mlflow-webhook runs .*?)\n\nSimulated:", result.output, re.MULTILINE | re.DOTALL)[0]
    page = PAGE.read_text()
    before, mark, rest = page.partition("<!-- demo -->\n```\n")
    assert mark
    there, end, after = rest.partition("```\n")
    if os.environ.get("UPDATE_REFERENCE"):
        told = re.sub(r"http://127\.0\.0\.1:\d+", "https://mlflow.example.com", shown)
        PAGE.write_text(f"{before}{mark}{told}\n{end}{after}")
    assert plain(there) == plain(shown) or os.environ.get("UPDATE_REFERENCE")
