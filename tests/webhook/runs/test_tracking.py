"""The search reads every page, and refuses invalid answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.webhook.runs.runs import document
from webhook.doctor.probe import INFO, LIST, SEARCH, Target
from webhook.runs.tracking import HISTORY, RUNS, RefusedError, Tracking

TOKEN = "h.p.s"
TARGET = Target(uri="http://mlflow/prefix/", workspace="team-a", token=TOKEN)
Answers = dict[str, Callable[[dict[str, Any]], Any]]


class Asked:
    """A server with configured answers, which records the requests."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.requests = answers, list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path.removeprefix("/prefix")
        asked = json.loads(request.content) if request.content else dict(request.url.params)
        return httpx.Response(200, json=self.answers[path](asked))


def tracking(answers: Answers, target: Target = TARGET) -> tuple[Tracking, Asked]:
    asked = Asked(answers)
    return Tracking(httpx.Client(transport=httpx.MockTransport(asked)), target), asked


def pages(name: str, *found: list[Any]) -> Callable[[dict[str, Any]], Any]:
    def answer(asked: dict[str, Any]) -> Any:
        number = int(asked.get("page_token") or 0)
        more = {"next_page_token": str(number + 1)} if number + 1 < len(found) else {}
        return {name: found[number], **more}

    return answer


EXPERIMENTS = pages("experiments", [{"experiment_id": "1", "name": "e"}])


def test_every_page_of_experiments_and_of_runs_is_read() -> None:
    searched: list[list[str]] = []

    def runs(asked: dict[str, Any]) -> Any:
        searched.append(asked["experiment_ids"])
        number = len(searched)
        more = {"next_page_token": "more"} if number in {1, 3} else {}
        return {"runs": [document(str(number), experiment_id=asked["experiment_ids"][0])], **more}

    experiments = pages(
        "experiments", [{"experiment_id": "1", "name": "one"}, {"experiment_id": "2"}], [{"experiment_id": "3"}]
    )
    found, asked = tracking({SEARCH: experiments, RUNS: runs})
    names = [(run.id, run.experiment) for run in found.search("f")]
    assert names == [("1", "one"), ("2", "one"), ("3", ""), ("4", "")]
    assert searched == [["1", "2"], ["1", "2"], ["3"], ["3"]]
    assert {request.headers["X-MLFLOW-WORKSPACE"] for request in asked.requests} == {"team-a"}
    assert {request.headers["Authorization"] for request in asked.requests} == {f"Bearer {TOKEN}"}
    assert json.loads(asked.requests[1].content)["filter"] == "f"


def test_only_experiments_that_are_wanted_are_searched() -> None:
    experiments = pages("experiments", [{"experiment_id": "1"}, {"experiment_id": "2"}], [{"experiment_id": "3"}])
    found, asked = tracking({SEARCH: experiments, RUNS: pages("runs", [])})
    assert list(found.search("", within={"2"}, deleted=True)) == []
    bodies = [json.loads(request.content) for request in asked.requests if request.url.path.endswith(RUNS)]
    assert [(body["experiment_ids"], body["run_view_type"]) for body in bodies] == [(["2"], "DELETED_ONLY")]


@pytest.mark.parametrize("path", [SEARCH, RUNS, HISTORY])
def test_a_server_whose_pages_never_end_is_not_searched_forever(path: str) -> None:
    empty: Answers = {path: lambda _: {"next_page_token": "more"}}
    found, asked = tracking({SEARCH: EXPERIMENTS, RUNS: pages("runs", []), HISTORY: pages("metrics", []), **empty})
    assert list(found.search("")) == []
    assert found.history("a", "loss") == []
    assert len(asked.requests) <= 3


def test_the_history_of_a_metric_is_read_to_its_end() -> None:
    points = [{"key": "loss", "value": value, "step": step, "timestamp": 1} for step, value in enumerate([1, "NaN", 2])]
    found, asked = tracking({HISTORY: pages("metrics", points[:2], points[2:])})
    assert [point.step for point in found.history("a", "loss")] == [0, 1, 2]
    assert asked.requests[0].url.params["metric_key"] == "loss"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (SEARCH, []),
        (SEARCH, {"experiments": "none"}),
        (RUNS, {"runs": [{"info": {}}]}),
        (RUNS, {"runs": {"a": 1}}),
        (LIST, {"workspaces": [{}]}),
        (INFO, []),
        (HISTORY, {"metrics": [1]}),
    ],
)
def test_an_invalid_answer_is_refused_and_the_token_is_not_in_the_message(path: str, answer: Any) -> None:
    said = [*answer, TOKEN] if isinstance(answer, list) else {**answer, "echo": TOKEN}
    found, _ = tracking({SEARCH: EXPERIMENTS, path: lambda _: said})
    look: Callable[[], object] = {
        LIST: found.workspaces,
        INFO: found.has_workspaces,
        HISTORY: lambda: found.history("a", "loss"),
    }.get(path, lambda: list(found.search("")))
    with pytest.raises(RefusedError) as refused:
        look()
    assert TOKEN not in str(refused.value)


def test_the_header_names_the_workspace_and_is_missing_without_one() -> None:
    found, asked = tracking({SEARCH: pages("experiments", [])})
    for workspace in ("default", None):
        assert list(found.moved(workspace).search("")) == []
    assert [request.headers.get("X-MLFLOW-WORKSPACE") for request in asked.requests] == ["default", None]


def test_a_server_from_before_workspaces_has_none() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="2.22.1") if request.url.path == "/prefix/version" else httpx.Response(404)

    assert Tracking(httpx.Client(transport=httpx.MockTransport(answer)), TARGET).has_workspaces() is False
