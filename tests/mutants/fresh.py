"""A plugin of pytest for `make mutants`: forgets what functions have remembered (lru_cache) from the run before.

mutmut runs the tests once, then forks for each mutant. A remembered result would hide that the code was changed.
"""

from __future__ import annotations

import sys

import pytest


def pytest_sessionstart(session: pytest.Session) -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"webhook", "certs"}:
            for value in list(vars(module).values()):
                if clear := getattr(value, "cache_clear", None):
                    clear()
