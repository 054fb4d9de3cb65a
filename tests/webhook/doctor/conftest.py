"""A server behind a proxy, with an issuer of tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dex import Dex
from tests.support.proxy import Server


@pytest.fixture(scope="module")
def dex() -> Iterator[Dex]:
    made = Dex()
    yield made
    made.stop()


@pytest.fixture
def server(dex: Dex) -> Iterator[Server]:
    made = Server()
    made.issuer = dex.issuer
    yield made
    made.stop()
