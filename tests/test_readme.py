from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.page import commands
from webhook.cli import cli
from webhook.core.configuration import ANNOTATION_KEYS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
OFFLINE = re.findall(r"^\.venv/bin/mlflow-webhook ((?:explain|inject) .*)$", CONTRIBUTING, re.MULTILINE)


@pytest.mark.parametrize("name", ANNOTATION_KEYS)
def test_the_readme_has_a_row_for_every_annotation(name: str) -> None:
    assert f"| `{name}` |" in README


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 900


def test_every_section_with_commands_is_typed_by_a_test() -> None:
    sources = "".join(
        file.read_text() for folder in ("cluster", "e2e") for file in (ROOT / "tests" / folder).glob("*.py")
    )
    headings = [*commands(ROOT / "README.md"), *commands(ROOT / "docs" / "install.md")]
    assert [heading for heading in headings if f'types("{heading}"' not in sources] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")], ids=str)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, anchor


def test_the_commands_without_a_cluster_run_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert OFFLINE
    for line in OFFLINE:
        result = CliRunner().invoke(cli, shlex.split(line))
        assert result.exit_code == 0, result.output
        assert "MLFLOW_TRACKING_URI" in result.stdout
