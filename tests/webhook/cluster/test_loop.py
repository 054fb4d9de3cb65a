from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.support.waiting import wait_for_threads, wait_until
from webhook.cluster import loop as module
from webhook.cluster.loop import Loop

PAUSE = 0.1


class Steps:
    """Notes when the step is called; what it does and how long it asks to wait can be set."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.wait = timedelta(hours=1)
        self.action: Callable[[], None] = lambda: None
        self.loop = Loop(self._step)

    def _step(self) -> timedelta:
        self.times.append(time.monotonic())
        self.action()
        return self.wait

    def until(self, number: int) -> None:
        wait_until(lambda: len(self.times) >= number, f"step {number}", every=0.005)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    monkeypatch.setattr(module, "LEAST_PAUSE", timedelta(seconds=PAUSE))
    steps = Steps()
    yield steps
    steps.loop.stop()


class Waits(threading.Event):
    """Records the waiting times, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return False


@pytest.mark.parametrize(("asked", "waited"), [(1.5, 0.5), (1.0, 0.0), (0.5, 0.0)])
def test_the_step_is_called_at_once_and_again_after_the_time_it_asks_for(
    steps: Steps, asked: float, waited: float
) -> None:
    """The shortest pause is a part of that time."""
    steps.wait = timedelta(seconds=asked * PAUSE)
    steps.loop._wake = waits = Waits()
    steps.loop.start()
    steps.until(2)
    assert waits.seconds[0] == pytest.approx(waited * PAUSE)
    assert steps.times[1] - steps.times[0] >= PAUSE


def test_it_is_called_soon_after_it_is_woken(steps: Steps) -> None:
    steps.loop.start()
    steps.until(1)
    steps.loop.wake()
    steps.until(2)


def test_it_is_called_once_for_each_time_it_is_woken(steps: Steps) -> None:
    steps.loop.start()
    steps.until(1)
    steps.loop.wake()
    steps.until(2)
    time.sleep(3 * PAUSE)
    assert len(steps.times) == 2


def test_a_step_that_wakes_itself_does_not_spin(steps: Steps) -> None:
    steps.action = steps.loop.wake
    steps.loop.start()
    steps.until(3)
    assert steps.times[2] - steps.times[0] >= 2 * PAUSE


def test_a_step_that_fails_is_logged_and_does_not_end_the_loop(steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("planted")

    steps.action = fail
    steps.loop.start()
    steps.until(1)
    steps.loop.wake()
    steps.until(2)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * len(caplog.records)
    assert "certificate upkeep failed because of a bug in the webhook" in caplog.text


def test_it_stops_at_once(steps: Steps) -> None:
    steps.loop.start()
    steps.until(1)
    steps.loop.stop()
    wait_for_threads("certificates")  # it would wait for an hour
