"""Every name that a user sees in the doctor's output has its place in docs/checks.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from webhook.network import NetworkFault
from webhook.token.claims import TokenProblem

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "checks.md").read_text()
OTHERS = {"content-type", "gap-auth", "mlflow-token", "mlflow-webhook", "mlflow-webhook-check"}
SOURCES = "".join(file.read_text() for file in sorted((ROOT / "webhook" / "doctor").glob("*.py")))
CHECKS = sorted(set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', SOURCES)) - OTHERS)
CODES = sorted(
    set(re.findall(r'(?:failed|warned)\(\s*[A-Z_]+,\s*"([a-z_]+)"', SOURCES))
    | {fault.value for fault in NetworkFault}
    | {f"token_{problem}" for problem in TokenProblem}
)


def test_there_are_checks_and_codes() -> None:
    assert len(CHECKS) > 15
    assert len(CODES) > 50


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_has_a_section(check: str) -> None:
    assert f"\n## {check}\n" in PAGE


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_a_row(code: str) -> None:
    assert f"| `{code}` |" in PAGE
