"""The requests of idle replicas to the API server, from its audit log."""

from __future__ import annotations

import time
from collections import Counter

from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import NAME, NAMESPACE, Installation
from tests.support.waiting import wait_until

SECONDS = 20
PER_MINUTE = 6
"""Requests of one replica."""


def test_idle_replicas_send_hardly_any_requests(control_plane: ControlPlane, installed: Installation) -> None:
    replicas = installed.start(2)

    def quiet() -> bool:
        before = len(control_plane.requests(f"{NAMESPACE}:{NAME}"))
        time.sleep(5)
        return len(control_plane.requests(f"{NAMESPACE}:{NAME}")) == before

    wait_until(quiet, "the end of what the start causes")
    before = len(control_plane.requests(f"{NAMESPACE}:{NAME}"))
    time.sleep(SECONDS)
    sent = control_plane.requests(f"{NAMESPACE}:{NAME}")[before:]
    counted = Counter(f"{event['verb']} {event['requestURI'].partition('?')[0]}" for event in sent)
    assert len(sent) <= PER_MINUTE * SECONDS / 60 * len(replicas), counted
