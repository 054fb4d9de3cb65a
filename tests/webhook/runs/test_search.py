"""What runs and pods tell together: whether more is to come, and which runs were left behind."""

from __future__ import annotations

import pytest

from tests.webhook.runs.runs import run
from webhook.runs.arrange import Row
from webhook.runs.causes import PodState
from webhook.runs.search import may_change, orphans


def of_pod(name: str, status: str) -> Row:
    return Row(0, run(f"run-of-{name}", status=status, tags={"k8s.pod.name": name}))


def state(name: str, phase: str, *, wired: bool = True) -> PodState:
    return PodState(name=name, phase=phase, wired=wired, why="", waiting="", lineage=True, server="")


@pytest.mark.parametrize(
    ("rows", "states", "more"),
    [
        ([], [], False),
        ([of_pod("a", "RUNNING")], [], True),
        ([of_pod("a", "SCHEDULED")], [state("a", "Running")], True),
        ([of_pod("a", "FINISHED")], [state("a", "Running")], False),
        ([of_pod("a", "RUNNING")], [state("a", "Failed")], False),
        ([of_pod("a", "FINISHED")], [state("b", "Pending")], True),
        ([of_pod("a", "FINISHED")], [state("b", "Running")], True),
        ([of_pod("a", "FINISHED")], [state("b", "Succeeded")], False),
        ([], [state("b", "Running", wired=False)], False),
    ],
)
def test_more_is_to_come_while_a_run_goes_on_or_a_wired_pod_has_none(
    rows: list[Row], states: list[PodState], *, more: bool
) -> None:
    assert may_change(rows, states) is more


def test_a_run_whose_pod_has_ended_was_left_behind() -> None:
    rows = [of_pod("a", "RUNNING"), of_pod("b", "RUNNING"), of_pod("c", "FINISHED"), of_pod("d", "RUNNING")]
    states = [state("a", "Failed"), state("b", "Running"), state("c", "Succeeded")]
    assert [found.id for found in orphans(rows, states)] == ["run-of-a"]
