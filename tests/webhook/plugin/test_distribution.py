"""The plugin as a distribution that MLflow finds, and what its module may import."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import webhook.plugin
from webhook.plugin import MODULE, load_plugin

SOURCE = Path(webhook.plugin.__file__).with_name(f"{MODULE}.py")


def test_it_is_python_3_8_and_imports_the_standard_library_only() -> None:
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    modules = [
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    # requests is always installed here, because MLflow's client uses it
    assert set(modules) <= {*sys.stdlib_module_names, "requests"}


def test_its_files_make_a_distribution_that_importlib_finds(tmp_path: Path) -> None:
    for path, text in load_plugin().files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    assert found.name == "mlflow-webhook-plugin"
    assert found.version == load_plugin().version
    assert {(point.group, point.value) for point in found.entry_points} == {
        ("mlflow.request_auth_provider", f"{MODULE}:AuthProvider"),
        ("mlflow.run_context_provider", f"{MODULE}:UserProvider"),
    }
