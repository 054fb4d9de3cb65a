"""The demo's processes say in a sentence why they failed."""

import sys
from pathlib import Path

import pytest

from demo.processes import DemoError, run_code


def test_code_that_fails_is_reported_with_the_end_of_what_it_wrote(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no kfp here')"]

    with pytest.raises(DemoError, match="compiling the pipeline failed:\nno kfp here"):
        run_code("compiling the pipeline", failing, folder=tmp_path)


def test_code_that_does_not_end_is_ended(tmp_path: Path) -> None:
    endless = [sys.executable, "-c", "import time; time.sleep(60)"]

    with pytest.raises(DemoError, match=r"the training code did not end within 0\.2 s"):
        run_code("the training code", endless, folder=tmp_path, limit=0.2)
