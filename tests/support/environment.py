"""The environment of a command under test, without the variables of the test run."""

from __future__ import annotations

import os


def bare(**variables: str) -> dict[str, str]:
    """Return the PATH, what the coverage report needs, and these variables."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE_")}
    return kept | variables
