"""Reads a file to which another process writes lines."""

from __future__ import annotations

from pathlib import Path


def whole_lines(file: Path) -> list[str]:
    """Return the lines so far, without one that is being written."""
    return file.read_text(errors="replace").rpartition("\n")[0].splitlines()
