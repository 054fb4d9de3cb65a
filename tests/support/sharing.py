"""Which tests one worker of pytest-xdist runs, because they share servers (`--dist loadgroup`).

Its own marker for groups does nothing with pytest 9.2: the worker still writes the group into a field that is gone.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from xdist.scheduler import LoadScopeScheduling

RESTARTED = {"test_control_plane", "test_outages"}
"""Their control plane is stopped and started."""
WAITING = {"test_client_certificate", "test_idle", "test_upkeep"}
"""They wait most of the time."""
ONE_SERVER = {"test_plugin", "test_runs", "test_runs_command"}
"""Their tests share an MLflow server."""


def group(nodeid: str) -> str:
    """Return the name of the group of tests that a test belongs to; most tests form one alone."""
    file = PurePosixPath(nodeid.partition("::")[0])
    if file.parent.name == "cluster" and file.parent.parent.name == "tests":
        if file.stem in RESTARTED:
            return "restarted control plane"
        return "waiting control plane" if file.stem in WAITING else "control plane"
    if file.parent.name == "mlflow" and file.stem in ONE_SERVER:
        return "MLflow server"
    return nodeid


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """A scheduler for whole groups, the largest first. The other tests go one by one to the next free worker."""

    def _split_scope(self, nodeid: str) -> Any:
        return group(nodeid)
