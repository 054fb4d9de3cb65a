"""Waits for something that another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = 60, every: float = 0.1) -> None:
    """Wait until a condition is true. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s for: {what}")
        time.sleep(every)
