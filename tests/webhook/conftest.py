"""An issuer of tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dex import Dex


@pytest.fixture(scope="module")
def dex() -> Iterator[Dex]:
    made = Dex()
    yield made
    made.stop()
