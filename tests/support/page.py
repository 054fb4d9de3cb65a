"""The commands on a page of the docs, so that tests run what a reader types."""

from __future__ import annotations

import re
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
