"""Keeps the certificate of a CA that the webhook makes itself and its replicas share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from certs.keeper import Keeper
from certs.ports import StoreError
from webhook.cluster.informer import Follower, Informer
from webhook.cluster.loop import Loop
from webhook.cluster.storage import LeaseLeadership

_log = logging.getLogger(__name__)


class _Waker:
    """An informer's follower that wakes a loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def replaced(self, objects: Iterable[dict[str, Any]]) -> None:  # noqa: ARG002 - that it changed is enough
        self._wake()

    def changed(self, type: str, object: dict[str, Any]) -> None:  # noqa: A002, ARG002 - the event's own words
        self._wake()


class SelfSigned:
    """A CA of the webhook's own, shared by its replicas."""

    def __init__(self, keeper: Keeper, leadership: LeaseLeadership, *, watch: Callable[[Follower], Informer]) -> None:
        self._keeper, self._leadership = keeper, leadership
        self._loop = Loop(self._step)
        self._informer = watch(_Waker(self._loop.wake))

    def start(self) -> None:
        """Begin to keep the certificate fresh."""
        self._loop.start()
        self._informer.start()

    def stop(self) -> None:
        """End, and give the lease to another replica."""
        self._informer.stop()
        self._loop.stop()
        try:
            self._leadership.give_up(datetime.now(UTC))
        except StoreError as error:
            _log.warning("the lease could not be released", extra={"problem": str(error)})

    def problem(self) -> str | None:
        """Say why clients cannot verify this replica yet."""
        return self._keeper.problem()

    def _step(self) -> timedelta:
        self._keeper.step(datetime.now(UTC))
        return self._keeper.wait
