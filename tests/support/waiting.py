"""Waits for something that another process or thread does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

DEADLINE = 120
"""Seconds. Only a failure takes so long: a busy machine may need many seconds for a short step."""


def wait_until(true: Callable[[], bool], what: str, *, seconds: float = DEADLINE, every: float = 0.1) -> None:
    """Wait until a condition is true. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s for: {what}")
        time.sleep(every)


def wait_for_threads(*names: str) -> None:
    """Wait until no thread has a name with this beginning. Raises AssertionError after DEADLINE seconds."""
    wait_until(
        lambda: not any(thread.name.startswith(names) for thread in threading.enumerate()),
        f"the end of {' and '.join(names)}",
        every=0.01,
    )
