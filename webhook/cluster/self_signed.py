"""Keeps the certificate of a CA that the webhook makes itself and its replicas share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from certs.keeper import Keeper
from certs.ports import StoreError
from webhook.cluster.loop import Loop
from webhook.cluster.named import NamedObject
from webhook.cluster.storage import LeaseLeadership

_log = logging.getLogger(__name__)


class SelfSigned:
    """A CA of the webhook, shared by its replicas. Each change of a `watched` object is handled immediately."""

    def __init__(self, keeper: Keeper, leadership: LeaseLeadership, *, watched: Sequence[NamedObject]) -> None:
        self._keeper, self._leadership, self._watched = keeper, leadership, watched
        self._loop = Loop(self._step)
        for found in watched:
            found.on_change = self._loop.wake

    def start(self) -> None:
        """Start to keep the certificate valid."""
        for found in self._watched:
            found.start()
        self._loop.start()

    def stop(self) -> None:
        """Stop, and release the lease for another replica."""
        for found in self._watched:
            found.stop()
        self._loop.stop()
        try:
            self._leadership.give_up(datetime.now(UTC))
        except StoreError as error:
            _log.warning("the lease could not be released", extra={"problem": str(error)})

    def problem(self) -> str | None:
        """Return why clients cannot verify this replica yet."""
        return self._keeper.problem()

    def _step(self) -> timedelta:
        self._keeper.step(datetime.now(UTC))
        return self._keeper.wait
