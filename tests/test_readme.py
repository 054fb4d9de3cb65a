from __future__ import annotations

from pathlib import Path

import pytest

from webhook.core.configuration import ANNOTATION_KEYS
from webhook.core.reasons import Reason

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("name", [*Reason, *ANNOTATION_KEYS])
def test_the_readme_has_a_row_for_every_reason_and_annotation(name: str) -> None:
    assert f"| `{name}` |" in README
