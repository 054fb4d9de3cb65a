"""Limits live reads at the API server, because anyone who can reach the webhook can send reviews that cause them.

Each name is read once at a time. Names that were not found are remembered for a short time. All names together share a
limit, and names that are known to exist have a separate one, which forged names cannot use up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from webhook.core.lookup import LookupFailedError, LookupOutcome

MISSING_FOR = 2.0
"""Seconds for which a name that was not found is not read again."""
MISSING_LIMIT = 1000
"""How many names that were not found are remembered."""
BURST, PER_SECOND = 50, 10
"""How many reads may start at once, and how many more each second. Known names and other names have separate limits."""

T = TypeVar("T")


@dataclass
class _Reads(Generic[T]):
    """The reads of one name: the callers that wait, and the result of the last read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    began: int = 0
    """The number of callers, for all names, before the last read started."""
    found: T | None = None
    error: LookupFailedError | None = None


class _Budget:
    """How many reads may start: BURST at once, then PER_SECOND."""

    def __init__(self, now: float) -> None:
        self._left, self._at = float(BURST), now

    def take(self, now: float) -> bool:
        """Return whether one more may start."""
        self._left = min(float(BURST), self._left + (now - self._at) * PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class LiveReads(Generic[T]):
    """Calls `fetch` for a name, within the limits. Use it from one event loop."""

    def __init__(self, fetch: Callable[[str], Awaitable[T]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._reads: dict[str, _Reads[T]] = {}
        self._missing: dict[str, float] = {}
        self._budgets = {known: _Budget(clock()) for known in (True, False)}
        self._callers = 0

    async def read(self, name: str, *, known: bool = False) -> T:
        """Return the result of a read that started after this call. Raises LookupFailedError.

        A call during a read waits for it, and shares the next read with other waiting calls: the current read may
        return an older state. `known` says whether the name is known to exist. If it is, an earlier "not found" does
        not count, because the watch has reported the name since.
        """
        if not known and self._missing.get(name, 0) > self._clock():
            raise LookupFailedError(f"namespace {name} was not found a moment ago", LookupOutcome.NOT_FOUND)
        self._callers = arrived = self._callers + 1
        reads = self._reads.setdefault(name, _Reads())
        reads.waiting += 1
        try:
            async with reads.lock:
                if reads.began < arrived:
                    await self._read(name, reads, known=known)
                if reads.error is not None:
                    raise reads.error
                assert reads.found is not None  # noqa: S101 - for mypy: a read gives one or the other
                return reads.found
        finally:
            reads.waiting -= 1
            if not reads.waiting:
                self._reads.pop(name, None)

    async def _read(self, name: str, reads: _Reads[T], *, known: bool) -> None:
        reads.began, reads.found, reads.error = self._callers, None, None
        try:
            if not self._budgets[known].take(self._clock()):
                raise LookupFailedError("too many reads of namespaces at once", LookupOutcome.LIMITED)  # noqa: TRY301
            reads.found = await self._fetch(name)
        except LookupFailedError as error:
            reads.error = error
            if error.outcome is LookupOutcome.NOT_FOUND:
                self._remember_missing(name)
        except BaseException:
            reads.began = 0  # the next call that waits starts its own read
            raise

    def _remember_missing(self, name: str) -> None:
        while len(self._missing) >= MISSING_LIMIT:
            del self._missing[next(iter(self._missing))]
        self._missing.pop(name, None)
        self._missing[name] = self._clock() + MISSING_FOR
