"""The demo's processes report in a sentence why they failed, and end with the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.processes import DemoError, mlflow_server, run_code, stop_on_sigterm


def test_code_that_fails_is_reported_with_the_end_of_what_it_wrote(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no kfp here')"]

    with pytest.raises(DemoError, match="compiling the pipeline failed:\nno kfp here"):
        run_code("compiling the pipeline", failing, folder=tmp_path)


def test_code_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    endless = [sys.executable, "-c", "import time; time.sleep(600)"]

    with pytest.raises(DemoError, match=r"the training code did not end within 0\.2 s"):
        run_code("the training code", endless, folder=tmp_path, limit=0.2)


@pytest.mark.parametrize(("number", "end"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_that_arrives_while_a_process_is_started_ends_that_process_too(
    number: signal.Signals, end: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    started = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            started.append(self.pid)
            os.kill(os.getpid(), number)

    monkeypatch.setattr("demo.processes.subprocess.Popen", Popen)
    with pytest.raises(end), stop_on_sigterm(), mlflow_server(python, tmp_path):
        pytest.fail("the demo went on")
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
