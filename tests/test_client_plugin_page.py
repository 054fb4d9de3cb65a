"""The page about the client plugin shows what the command prints."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.webhook.cli.calling import call

PAGE = Path(__file__).parents[1] / "docs" / "client-plugin.md"


def test_the_difference_on_the_page_is_what_inject_prints(tmp_path: Path) -> None:
    """Run with UPDATE_REFERENCE=1 to write it again."""
    page = PAGE.read_text()
    pod = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert pod
    (tmp_path / "pod.yaml").write_text(pod[1])
    arguments = ["inject", "-f", str(tmp_path / "pod.yaml"), "--namespace-label", "mlflow-enabled=true", "-o", "diff"]
    result = call(*arguments)
    assert result.exit_code == 0
    before, mark, rest = page.partition("<!-- diff -->\n```diff\n")
    assert mark
    printed = re.sub(r"\(\d+ characters\)", "(N characters)", result.stdout)
    wanted = before + mark + printed + "```" + rest.partition("\n```")[2]
    if os.environ.get("UPDATE_REFERENCE"):
        PAGE.write_text(wanted)
    assert page == wanted or os.environ.get("UPDATE_REFERENCE")
