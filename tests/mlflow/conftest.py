"""One MLflow server for the tests of this folder. Each module has its own workspaces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.processes import mlflow_server
from tests.support.training import PYTHON


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(PYTHON, tmp_path_factory.mktemp("mlflow")) as url:
        yield url
