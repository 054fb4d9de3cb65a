from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dex import Dex


@pytest.fixture
def dex() -> Iterator[Dex]:
    stand_in = Dex()
    yield stand_in
    stand_in.stop()
