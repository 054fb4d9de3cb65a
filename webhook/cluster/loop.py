"""A thread that repeats a step: after the time that the step returns, or when it is woken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

LEAST_PAUSE = timedelta(seconds=0.5)
"""The shortest time between two steps, even if the loop is woken often."""

_log = logging.getLogger(__name__)


class Loop:
    """Calls a step in a thread: immediately, then after the time that the step returns, and soon after it is woken."""

    def __init__(self, step: Callable[[], timedelta]) -> None:
        self._step = step
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> None:
        """Start to call the step."""
        self._thread.start()

    def wake(self) -> None:
        """Call the step soon. Safe to use from any thread."""
        self._wake.set()

    def stop(self) -> None:
        """Stop the thread, and wait for it (5 seconds at most)."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping.is_set():
                return
            wait = timedelta(seconds=5)
            try:
                wait = self._step()
            except Exception:  # noqa: BLE001 - see below
                # A bug must not end the upkeep; the certificate in service is still valid for days.
                _log.exception("certificate upkeep failed because of a bug in the webhook")
            # The step itself may wake the loop, or something that undoes its work. The loop must not spin then.
            self._stopping.wait(LEAST_PAUSE.total_seconds())
            self._wake.wait(max(wait - LEAST_PAUSE, timedelta(0)).total_seconds())
