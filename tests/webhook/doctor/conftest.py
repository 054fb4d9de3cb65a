"""A server behind a proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dex import Dex
from tests.support.proxy import Server


@pytest.fixture
def server(dex: Dex) -> Iterator[Server]:
    made = Server()
    made.issuer = dex.issuer
    yield made
    made.stop()
