"""Loads the plugin's module for each test."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.support.plugin import MODULE, SOURCE, Load

VARIABLES = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_WORKSPACE")


@lru_cache(maxsize=None)  # noqa: UP033 - functools.cache is not in Python 3.8
def code() -> CodeType:
    """Return the compiled module. Its mutants together are 7,000 lines: compiling them for each test takes minutes."""
    return compile(SOURCE.read_text(), str(SOURCE), "exec", dont_inherit=True)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return what loads the module as a process in a container would, with these files and variables."""

    def loaded(*, wiring: str = "{}", token: str = "", **environment: str) -> ModuleType:
        (tmp_path / "wiring.json").write_text(wiring)
        (tmp_path / "token").write_text(token)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        module = ModuleType(f"webhook.plugin.{MODULE}")
        module.__file__ = str(tmp_path / "python" / SOURCE.name)
        exec(code(), vars(module))
        return module

    return loaded
