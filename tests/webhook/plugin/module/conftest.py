"""Loads the plugin's module for each test."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.plugin import MODULE, SOURCE, Load


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return what loads the module as a process in a container would, with these files and variables."""

    def loaded(*, wiring: str = "{}", token: str = "", **environment: str) -> ModuleType:
        folder = tmp_path / "python"
        folder.mkdir(exist_ok=True)
        (folder / SOURCE.name).write_text(SOURCE.read_text())
        (tmp_path / "wiring.json").write_text(wiring)
        (tmp_path / "token").write_text(token)
        for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_WORKSPACE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location(f"webhook.plugin.{MODULE}", folder / SOURCE.name)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded
