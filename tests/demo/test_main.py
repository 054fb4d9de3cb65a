"""The demo ends what it started, and says why a server did not start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.__main__ import demo
from tests.support.waiting import DEADLINE, wait_until

ROOT = Path(__file__).parents[2]


def test_a_server_that_ends_immediately_is_shown_with_its_last_output(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named mlflow >&2\nexit 1\n")
    python.chmod(0o755)
    result = CliRunner().invoke(demo, ["--training-python", str(python)])
    assert result.exit_code == 1
    assert "a server did not start" in result.stderr
    assert "No module named mlflow" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_demo_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f"#!/bin/sh\necho $$ >{started}.now\nmv {started}.now {started}\nexec sleep 600\n")
    python.chmod(0o755)
    command = [sys.executable, "-m", "demo", "--training-python", str(python)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        wait_until(started.exists, "the server's process")
        process.terminate()
        _, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, errors) == (143, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
