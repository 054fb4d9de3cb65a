"""What runs and pods show together: whether more runs may start, and which runs were left behind."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.webhook.runs.runs import document, run
from webhook.doctor.pod import Subject
from webhook.doctor.probe import SEARCH, Target
from webhook.runs.arrange import Row
from webhook.runs.causes import PodState
from webhook.runs.query import NESTED_WITHOUT_LINEAGE
from webhook.runs.search import find_runs, may_change, orphans
from webhook.runs.tracking import RefusedError, Tracking


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
def test_the_search_is_not_complete_while_a_run_continues_or_a_wired_pod_has_no_run(
    rows: list[Row], states: list[PodState], *, more: bool
) -> None:
    assert may_change(rows, states) is more


def test_a_run_whose_pod_has_ended_was_left_behind() -> None:
    rows = [of_pod("a", "RUNNING"), of_pod("b", "RUNNING"), of_pod("c", "FINISHED"), of_pod("d", "RUNNING")]
    states = [state("a", "Failed"), state("b", "Running"), state("c", "Succeeded")]
    assert [found.id for found in orphans(rows, states)] == ["run-of-a"]


def tracking(nested: httpx.Response) -> Tracking:
    """Return a server with one run of a subject, and an answer to the search for nested runs without tags."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == SEARCH:
            return httpx.Response(200, json={"experiments": [{"experiment_id": "1"}]})
        asked: dict[str, Any] = json.loads(request.content)
        return nested if asked["filter"] == NESTED_WITHOUT_LINEAGE else httpx.Response(200, json=runs("top"))

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Tracking(client, Target(uri="http://m", workspace=None, token=None))


def runs(*ids: str, **parents: str) -> dict[str, Any]:
    documents = [document(id_) for id_ in ids]
    return {"runs": [*documents, *(document(child, parent=parent) for child, parent in parents.items())]}


def test_nested_runs_without_tags_belong_to_the_subject_of_their_parents_at_any_depth() -> None:
    nested = httpx.Response(200, json=runs(deep="middle", middle="top", other="elsewhere"))
    rows = find_runs(tracking(nested), Subject("run", "x"), plot=None).rows
    assert [(row.depth, row.run.id) for row in rows] == [(0, "top"), (1, "middle"), (2, "deep")]


def test_a_server_whose_search_has_no_is_null_shows_the_runs_with_tags() -> None:
    refusal = httpx.Response(400, json={"error_code": "INVALID_PARAMETER_VALUE"})
    rows = find_runs(tracking(refusal), Subject("run", "x"), plot=None).rows
    assert [row.run.id for row in rows] == ["top"]


def test_a_token_that_expires_during_the_search_is_an_error() -> None:
    with pytest.raises(RefusedError):
        find_runs(tracking(httpx.Response(401, json={})), Subject("run", "x"), plot=None)
