"""Which replica writes: the rule of a Lease (coordination.k8s.io/v1), as in client-go's leader election. Pure.

Unlike in client-go, the lease is taken only when there is something to write, and is not renewed afterwards. Clocks of
different machines are never compared: a replica judges a lease by how long it has itself seen it unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

DURATION = timedelta(seconds=15)
"""How long a holder keeps the lease without renewing it."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The content of a Lease. An empty holder means that nobody holds it."""

    holder: str
    renewed: datetime
    acquired: datetime
    transitions: int = 0
    duration: timedelta = DURATION


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A lease as last read, when that was, and since when it has been seen unchanged.

    Both are seconds by a clock that is never set back, such as `time.monotonic`.
    """

    lease: Lease | None
    since: float
    at: float

    @property
    def unchanged(self) -> timedelta:
        """Return for how long it has been seen unchanged, in seconds."""
        return timedelta(seconds=self.at - self.since)


def observe(lease: Lease | None, *, before: Observation | None, at: float) -> Observation:
    """Return the observation of a lease that was read at the time `at`, in seconds."""
    if before is not None and before.lease == lease:
        return Observation(lease=lease, since=before.since, at=at)
    return Observation(lease=lease, since=at, at=at)


def claim(observation: Observation, *, identity: str, now: datetime) -> Lease | None:
    """Return the lease to write in order to take or keep it; None while another replica holds it.

    `now` is only written into the lease, as the time of renewal.
    """
    lease = observation.lease
    if lease is not None and lease.holder == identity:
        return Lease(holder=identity, renewed=now, acquired=lease.acquired, transitions=lease.transitions)
    if lease is not None and lease.holder and observation.unchanged < lease.duration:
        return None
    transitions = 0 if lease is None else lease.transitions + 1
    return Lease(holder=identity, renewed=now, acquired=now, transitions=transitions)


def release(lease: Lease, *, now: datetime) -> Lease:
    """Return the lease to write in order to hand it over at once."""
    return Lease(holder="", renewed=now, acquired=lease.acquired, transitions=lease.transitions)
