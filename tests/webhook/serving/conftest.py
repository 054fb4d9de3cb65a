"""A running server for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.serving import Serving, started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serve")
    with (folder / "log").open("w") as stderr, started(folder, stderr=stderr) as serving:
        yield serving
