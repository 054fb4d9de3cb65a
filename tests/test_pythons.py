"""Which Pythons `make test-pythons` chooses, and how it finds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import pythons


@pytest.mark.parametrize(
    ("found", "own", "tested"),
    [
        (["3.11", "3.12", "3.13"], "3.11", ["3.13"]),
        (["3.11", "3.12", "3.13"], "3.12", ["3.11", "3.13"]),
        (["3.11", "3.12", "3.13"], "3.13", ["3.11"]),
        (["3.12"], "3.12", []),
        (["3.11"], "3.12", ["3.11"]),
    ],
)
def test_the_oldest_and_the_newest_that_are_found_are_tested_and_what_is_not_is_named(
    found: list[str], own: str, tested: list[str]
) -> None:
    fates = dict(pythons.choose(found, own))
    assert list(fates) == pythons.supported()
    assert [version for version, fate in fates.items() if fate == "tested"] == tested
    for version in fates.keys() - set(found):
        assert fates[version] == "was not found on this machine: not tested"


def test_the_python_that_runs_this_is_found() -> None:
    version = "{}.{}".format(*sys.version_info)
    found = pythons.find(version)
    assert found is None or found.name.startswith("python")  # it may be installed where nobody looks
    assert version in pythons.supported()


def test_a_shim_that_leads_nowhere_does_not_count_as_a_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'python3.12: command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pythons.find("3.12") is None
    working = tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin" / "python3.12"
    working.parent.mkdir(parents=True)
    working.write_text("#!/bin/sh\necho 3.12\n")
    working.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert pythons.find("3.12") == working
