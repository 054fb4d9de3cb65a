"""Which requests get the token, and whose credentials stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from urllib3.util import parse_url

from tests.support.plugin import SERVER, Load, prepared, sent
from tests.support.servers import OTHERS
from tests.support.servers import SERVER as CONFIGURED


@pytest.mark.parametrize(
    "url",
    [
        f"{SERVER}/api",
        "http://MLFLOW.example:5000/api",
        "http://mlflow.example.:5000/api",
        "http://mlflow.example:5000?x",
    ],
)
def test_the_token_goes_to_the_wired_server(load: Load, url: str) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER}), token="new\n", MLFLOW_TRACKING_TOKEN="old")
    assert sent(module, prepared(url, token="old"))["Authorization"] == "Bearer new"


@pytest.mark.parametrize(
    "url",
    [
        "https://mlflow.example:5000/api",
        "http://mlflow.example/api",
        "http://mlflow.example:50000/api",
        "http://mlflow.example:5001/api",
        "http://mlflow.example.other:5000/api",
        "http://other.mlflow.example:5000/api",
        "http://mlflow.example@other.example:5000/api",
        "http://mlflow.example:5000@other.example/api",
        "http://other.example/mlflow.example:5000",
        "http://[::1]:5000/api",
    ],
)
@pytest.mark.parametrize("token", ["old", "new"])
def test_the_token_goes_to_no_other_server(load: Load, url: str, token: str) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER}), token="new", MLFLOW_TRACKING_TOKEN="old")
    assert token not in sent(module, prepared(url, token=token)).get("Authorization", "")


@pytest.mark.parametrize("uri", OTHERS)
def test_the_token_goes_to_nothing_that_looks_like_the_wired_server(load: Load, uri: str) -> None:
    module = load(wiring=json.dumps({"tracking_uri": CONFIGURED}), token="new", MLFLOW_TRACKING_TOKEN="old")
    try:
        request = prepared(uri, token="old")
    except requests.RequestException:
        return  # MLflow's client cannot send it at all
    target = parse_url(str(request.url))  # what the request will be sent to, as urllib3 reads it
    if (target.scheme, target.host, target.port) != ("http", "mlflow.kubeflow", 5000):
        authorization = sent(module, request).get("Authorization", "")
        assert "old" not in authorization
        assert "new" not in authorization


def test_a_token_that_was_in_the_file_before_is_still_the_webhooks(load: Load, tmp_path: Path) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER}), token="first")
    sent(module, prepared(SERVER))
    (tmp_path / "token").write_text("second")
    assert "Authorization" not in sent(module, prepared("http://other.example", token="first"))


def test_credentials_of_the_code_stay_on_both_servers(load: Load) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER}), token="new", MLFLOW_TRACKING_TOKEN="old")
    for url in (SERVER, "http://other.example"):
        assert sent(module, prepared(url, token="the-code's"))["Authorization"] == "Bearer the-code's"


def test_without_a_file_the_token_of_the_environment_is_used(load: Load) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER}), token="", MLFLOW_TRACKING_TOKEN="old")
    assert sent(module, prepared(SERVER, token="old"))["Authorization"] == "Bearer old"


@pytest.mark.parametrize("wiring", ["", "{", "[]", "null", '"x"', '{"tracking_uri": 5}', '{"tracking_uri": "x"}', "\0"])
def test_without_a_wiring_that_can_be_read_no_server_gets_a_token(load: Load, wiring: str) -> None:
    module = load(wiring=wiring, token="new", MLFLOW_TRACKING_TOKEN="old")
    assert "Authorization" not in sent(module, prepared(SERVER, token="old"))
