"""The list of mutants that no test has to notice. Each line that it names has to be in the sources."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LISTED = yaml.safe_load(Path(__file__).with_name("equivalent.yaml").read_text())


def source(function: str) -> str:
    """Return the source of the module that a function is in."""
    parts = function.split(".")
    files = (ROOT.joinpath(*parts[:length]).with_suffix(".py") for length in range(len(parts) - 1, 0, -1))
    return next(file for file in files if file.is_file()).read_text()


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: entry["in"])
def test_what_is_listed_is_in_the_sources_and_has_a_reason(entry: dict[str, str]) -> None:
    lines = {line.strip() for line in source(entry["in"]).splitlines()}
    changed = {line.removeprefix("- ") for line in entry.get("change", "").splitlines() if line.startswith("- ")}
    assert changed <= lines
    assert changed or any(line.startswith(f"def {entry['in'].rpartition('.')[2]}(") for line in lines)
    assert entry["why"]
