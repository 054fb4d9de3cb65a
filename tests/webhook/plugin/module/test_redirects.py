"""Redirects of the wired server: which headers are sent to the target."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from tests.support.plugin import Load

SERVER, ELSEWHERE = "http://mlflow.example", "https://mlflow.example"
"""requests itself takes headers along from one to the other: the same host, with the ports of the schemes."""


class Redirects(BaseAdapter):
    """The network: redirects as configured, and records the header Authorization of each request."""

    def __init__(self, targets: dict[str, str]) -> None:
        super().__init__()
        self.targets = targets
        self.sent: dict[str, str | None] = {}

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        assert request.url
        authorization = request.headers.get("Authorization")
        self.sent[request.url] = None if authorization is None else str(authorization)
        response = requests.Response()
        response.request, response.url, response.status_code = request, request.url, 200
        if request.url in self.targets:
            response.status_code, response.headers["Location"] = 302, self.targets[request.url]
        return response

    def close(self) -> None:
        pass


def follow(
    load: Load, targets: dict[str, str], *, authorization: str = "", body: Any = None, path: str = "/first"
) -> list[str | None]:
    """Return the header Authorization of each request, in their order."""
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}), token="token")
    network = Redirects(targets)
    with requests.Session() as session:
        session.mount("http://", network)
        session.mount("https://", network)
        headers = {"Authorization": authorization} if authorization else {}
        auth = module.AuthProvider().get_auth()
        session.request("POST" if body else "GET", SERVER + path, headers=headers, json=body, auth=auth)
    return list(network.sent.values())


def test_another_server_does_not_get_the_token(load: Load) -> None:
    assert follow(load, {f"{SERVER}/first": f"{ELSEWHERE}/second"}) == ["Bearer token", None]


@pytest.mark.parametrize("target", ["/second", "second", f"{SERVER}/second", f"{SERVER}:80/second"])
def test_the_wired_server_gets_it_again(load: Load, target: str) -> None:
    assert follow(load, {f"{SERVER}/first": target}) == ["Bearer token", "Bearer token"]


def test_another_server_does_not_get_it_after_two_redirects(load: Load) -> None:
    targets = {f"{SERVER}/first": "/second", f"{SERVER}/second": f"{ELSEWHERE}/third"}
    assert follow(load, targets) == ["Bearer token", "Bearer token", None]


def test_credentials_of_the_code_are_sent_as_without_the_plugin(load: Load) -> None:
    found = follow(load, {f"{SERVER}/first": f"{ELSEWHERE}/second"}, authorization="Bearer the-code's")
    assert found == ["Bearer the-code's"] * 2


def test_another_server_does_not_get_it_with_a_run_that_the_plugin_cannot_read(load: Load) -> None:
    path = "/api/2.0/mlflow/runs/create"
    assert follow(load, {SERVER + path: f"{ELSEWHERE}/second"}, body=["strange"], path=path) == ["Bearer token", None]
