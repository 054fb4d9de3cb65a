"""An issuer of tokens, and a cluster for what needs one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.dex import Dex


@pytest.fixture(scope="module")
def dex() -> Iterator[Dex]:
    made = Dex()
    yield made
    made.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.stop()
