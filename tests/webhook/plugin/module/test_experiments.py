"""An experiment that another process creates between the search and the creation, with a real HTTP server."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any, Iterator  # noqa: UP035 - that of collections.abc takes no parameters before Python 3.9
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.support.answers import AnsweringServer
from tests.support.plugin import Load

LOOK, CREATE = "/api/2.0/mlflow/experiments/get-by-name", "/api/2.0/mlflow/experiments/create"
EXISTS = (400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "Experiment already exists."})
FOUND = (200, {"experiment": {"experiment_id": "7", "lifecycle_stage": "active"}})


class Connections(HTTPAdapter):
    """The connections of a session, which remember how each request was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.options: list[dict[str, Any]] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        self.options.append(options)
        return super().send(request, **options)


class Client:
    """Do what MLflow's client does for the experiment of the environment: search, and create it if it is not found."""

    def __init__(self, load: Load, server: AnsweringServer, **environment: str) -> None:
        wiring = json.dumps({"tracking_uri": server.url, "workspace": "team-a"})
        self.server, self.module = server, load(wiring=wiring, token="token", **environment)
        self.connections = Connections()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", self.connections)
        self.session.auth = self.module.AuthProvider().get_auth()

    def look(self, name: str = "new", answer: tuple[int, Any] = (404, {})) -> requests.Response:
        self.server.answers[LOOK] = answer
        return self.session.get(f"{self.server.url}{LOOK}", params={"experiment_name": name})

    def create(
        self, name: str = "new", *, path: str = CREATE, answer: tuple[int, Any] = EXISTS, then: tuple[int, Any] = FOUND
    ) -> requests.Response:
        self.server.answers[path], self.server.answers[LOOK] = answer, then
        return self.session.post(f"{self.server.url}{path}", json={"name": name}, timeout=(3, 7))


@pytest.fixture
def client(load: Load) -> Iterator[Client]:
    with AnsweringServer() as server:
        made = Client(load, server)
        yield made
        made.session.close()


def failed(response: requests.Response) -> bool:
    """Return whether the client got the server's own answer."""
    assert (response.status_code, response.json()) == EXISTS
    return True


@pytest.mark.parametrize("name", ["new", "a b&c=d/é?%41"])
def test_the_process_that_was_slower_gets_the_experiment_of_the_faster_one(client: Client, name: str) -> None:
    assert client.look(name).status_code == 404
    response = client.create(name)
    assert (response.status_code, response.reason, response.json()) == (200, "OK", {"experiment_id": "7"})
    assert response.text == '{"experiment_id": "7"}'


def test_it_searches_again_as_the_client_does(client: Client) -> None:
    client.look("a b")
    client.create("a b")
    first, creation, second = client.server.received
    assert (first.method, creation.method, second.method) == ("GET", "POST", "GET")
    assert urlsplit(second.path).path == LOOK
    assert parse_qs(urlsplit(second.path).query) == {"experiment_name": ["a b"]}
    assert second.headers["authorization"] == "Bearer token"
    assert second.headers["x-mlflow-workspace"] == "team-a"
    assert "content-length" not in second.headers
    assert "content-type" not in second.headers
    assert client.connections.options[2] == client.connections.options[1]
    assert client.connections.options[2]["timeout"] == (3, 7)


def test_a_creation_without_a_content_type_is_the_same(client: Client) -> None:
    client.look()
    client.server.answers.update({CREATE: EXISTS, LOOK: FOUND})
    assert client.session.post(client.server.url + CREATE, data=b'{"name": "new"}').json() == {"experiment_id": "7"}


def test_the_next_request_can_use_the_connection(client: Client) -> None:
    client.look()
    client.create()
    assert client.look("another", answer=FOUND).json() == FOUND[1]


def test_the_answer_to_a_successful_creation_is_not_changed(client: Client) -> None:
    client.look()
    assert client.create(answer=(200, {"experiment_id": "8"})).json() == {"experiment_id": "8"}
    assert len(client.server.received) == 2


def test_without_a_search_before_it_a_creation_fails_as_without_the_plugin(client: Client) -> None:
    assert failed(client.create())
    client.look("another")
    assert failed(client.create())
    client.look(answer=FOUND)
    assert failed(client.create())
    assert [request.method for request in client.server.received] == ["POST", "GET", "POST", "GET", "POST"]


def test_each_search_counts_for_one_creation(client: Client) -> None:
    client.look()
    assert client.create().ok
    assert failed(client.create())


def test_a_search_in_another_thread_does_not_count(client: Client) -> None:
    thread = threading.Thread(target=client.look)
    thread.start()
    thread.join()
    assert failed(client.create())


@pytest.mark.parametrize(("seconds", "counts"), [(0, True), (60, True), (60.1, False)])
def test_a_search_counts_for_60_seconds(
    client: Client, monkeypatch: pytest.MonkeyPatch, seconds: float, counts: bool
) -> None:
    now = [1000.0]
    monkeypatch.setattr(client.module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    client.look()
    now[0] += seconds
    assert client.create().ok is counts


@pytest.mark.parametrize(
    "then",
    [
        (200, {"experiment": {"experiment_id": "7", "lifecycle_stage": "deleted"}}),
        (200, {"experiment": {"experiment_id": "7"}}),
        (200, {"experiment": None}),
        (200, {}),
        (200, "<!DOCTYPE html>"),
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}),
        (503, FOUND[1]),
    ],
    ids=lambda then: str(then)[:60],
)
def test_without_an_active_experiment_the_creation_fails_as_without_the_plugin(
    client: Client, then: tuple[int, Any]
) -> None:
    client.look()
    assert failed(client.create(then=then))


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"error_code": "INVALID_PARAMETER_VALUE"}),
        (400, {}),
        (400, []),
        (400, "<!DOCTYPE html>"),
        (401, EXISTS[1]),
        (404, EXISTS[1]),
        (500, EXISTS[1]),
    ],
    ids=lambda answer: str(answer)[:60],
)
def test_another_failure_is_not_changed(client: Client, answer: tuple[int, Any]) -> None:
    client.look()
    response = client.create(answer=answer)
    body = answer[1] if isinstance(answer[1], str) else json.dumps(answer[1])
    assert (response.status_code, response.text) == (answer[0], body)
    assert len(client.server.received) == 2


def test_what_is_created_elsewhere_under_the_same_name_is_not_an_experiment(client: Client) -> None:
    client.look()
    assert failed(client.create(path="/api/2.0/mlflow/registered-models/create"))
    assert len(client.server.received) == 2


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_search_with_another_failure_does_not_count(client: Client, status: int) -> None:
    client.look(answer=(status, {}))
    assert failed(client.create())
