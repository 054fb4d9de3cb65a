"""The commands on a page of the docs, so that tests run what a reader types."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def commands(page: Path) -> dict[str, list[str]]:
    """Return the blocks of commands (fenced, with no language named) under each heading."""
    found: dict[str, list[str]] = {}
    heading, block = "", None
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = re.fullmatch(r" *```(\w*)", line)
        if fence and block is None:
            block = [] if not fence[1] else ["another language"]
        elif fence and block is not None:
            if block[:1] != ["another language"]:
                found.setdefault(heading, []).append("\n".join(block))
            block = None
        elif block is not None:
            block.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def type_commands(
    blocks: Sequence[str], *, folder: Path, environment: Mapping[str, str], before: str = "", seconds: float = 120
) -> str:
    """Run blocks of commands in one shell, which stops at the first failure. Returns their output.

    `before`: commands that the reader has already run. Raises AssertionError with the output of a failure.
    """
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([before, *blocks])],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
