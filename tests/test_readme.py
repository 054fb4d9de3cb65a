from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from webhook.cli import cli
from webhook.core.configuration import ANNOTATION_KEYS
from webhook.core.reasons import Reason

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
OFFLINE = re.findall(r"^\.venv/bin/mlflow-webhook ((?:explain|inject) .*)$", README, re.MULTILINE)


@pytest.mark.parametrize("name", [*Reason, *ANNOTATION_KEYS])
def test_the_readme_has_a_row_for_every_reason_and_annotation(name: str) -> None:
    assert f"| `{name}` |" in README


def test_the_readmes_commands_without_a_cluster_run_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert OFFLINE
    for line in OFFLINE:
        result = CliRunner().invoke(cli, shlex.split(line))
        assert result.exit_code == 0, result.output
        assert "MLFLOW_TRACKING_URI" in result.stdout
