"""Which requests get the token, and whose credentials stay."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest
import requests
from urllib3.util import parse_url

from tests.support.plugin import SERVER, WIRED, Load, prepared, sent
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
    module = load(wiring=WIRED, token="new\n", MLFLOW_TRACKING_TOKEN="old")
    assert sent(module, url, token="old")["Authorization"] == "Bearer new"


@pytest.mark.parametrize("authorization", ["", "Bearer old", "bearer old", "BEARER  old ", "Bearer new"])
def test_the_token_in_the_file_replaces_one_that_the_client_has_read_before(load: Load, authorization: str) -> None:
    module = load(wiring=WIRED, token="new", MLFLOW_TRACKING_TOKEN=" old\n")
    assert sent(module, SERVER, authorization=authorization)["Authorization"] == "Bearer new"


@pytest.mark.parametrize(
    ("wired", "url", "same"),
    [
        ("http://mlflow.example", "http://mlflow.example:80", True),
        ("http://mlflow.example", "http://mlflow.example:81", False),
        ("http://mlflow.example:443", "http://mlflow.example", False),
        ("https://mlflow.example", "https://mlflow.example:443", True),
        ("https://mlflow.example", "https://mlflow.example:444", False),
        ("https://mlflow.example:80", "https://mlflow.example", False),
        ("https://mlflow.example:443", "http://mlflow.example:443", False),
        ("http://", "http://mlflow.example", False),
        ("http:///path", "http:///other", False),
    ],
)
def test_a_url_without_a_port_means_the_schemes_own(load: Load, wired: str, url: str, same: bool) -> None:
    module = load(wiring=json.dumps({"tracking_uri": wired}), token="new")
    request = prepared(module, "http://mlflow.example:1")
    request.url = url  # requests would not make a request without a host
    assert ("Authorization" in module.AuthProvider().get_auth()(request).headers) is same


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
    module = load(wiring=WIRED, token="new", MLFLOW_TRACKING_TOKEN="old")
    assert token not in sent(module, url, token=token).get("Authorization", "")


@pytest.mark.parametrize("uri", OTHERS)
def test_the_token_goes_to_nothing_that_looks_like_the_wired_server(load: Load, uri: str) -> None:
    module = load(wiring=json.dumps({"tracking_uri": CONFIGURED}), token="new", MLFLOW_TRACKING_TOKEN="old")
    try:
        request = prepared(module, uri, token="old")
    except requests.RequestException:
        return  # MLflow's client cannot send it
    target = parse_url(str(request.url))  # what the request will be sent to, as urllib3 reads it
    if (target.scheme, target.host, target.port) != ("http", "mlflow.kubeflow", 5000):
        authorization = request.headers.get("Authorization", "")
        assert "old" not in authorization
        assert "new" not in authorization


def test_a_token_that_was_in_the_file_before_is_still_the_webhooks(load: Load, tmp_path: Path) -> None:
    module = load(wiring=WIRED, token="first")
    sent(module, SERVER)
    (tmp_path / "token").write_text("second")
    assert "Authorization" not in sent(module, "http://other.example", token="first")


@pytest.mark.parametrize("url", [SERVER, "http://other.example"])
@pytest.mark.parametrize("authorization", ["Bearer the-code's", "Basic bmV3", "Secret new", "Bearer ", "new"])
@pytest.mark.parametrize("first", ["old", ""])
def test_credentials_of_the_code_stay_on_both_servers(load: Load, url: str, authorization: str, first: str) -> None:
    module = load(wiring=WIRED, token="new", MLFLOW_TRACKING_TOKEN=first)
    assert sent(module, url, authorization=authorization)["Authorization"] == authorization


@pytest.mark.parametrize("file", [None, b"", b" \n", b"\xff\xfe"], ids=["missing", "empty", "blank", "not text"])
def test_without_a_token_in_the_file_that_of_the_environment_is_used(
    load: Load, tmp_path: Path, file: bytes | None
) -> None:
    module = load(wiring=WIRED, MLFLOW_TRACKING_TOKEN="old")
    (tmp_path / "token").unlink()
    if file is not None:
        (tmp_path / "token").write_bytes(file)
    assert sent(module, SERVER, token="old")["Authorization"] == "Bearer old"
    assert "Authorization" not in sent(module, SERVER)
    assert "Authorization" not in sent(module, "http://other.example", token="old")


def test_a_file_that_appears_or_changes_counts_from_the_next_request_on(load: Load, tmp_path: Path) -> None:
    module = load(wiring=WIRED)
    for token in ("first", "second"):
        (tmp_path / "token").write_text(token)
        assert sent(module, SERVER)["Authorization"] == f"Bearer {token}"


def test_the_file_is_found_after_the_kubelet_has_replaced_the_folder(load: Load, tmp_path: Path) -> None:
    for folder, token in (("..1", "first"), ("..2", "second")):
        (tmp_path / folder / "python").mkdir(parents=True)
        (tmp_path / folder / "token").write_text(token)
    for name, target in (("..data", "..1"), ("python", "..data/python"), ("token", "..data/token")):
        (tmp_path / name).symlink_to(target)
    module = load(wiring=WIRED, token="first")
    assert sent(module, SERVER)["Authorization"] == "Bearer first"
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert sent(module, SERVER)["Authorization"] == "Bearer second"


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def netrc(folder: Path, host: str) -> None:
    (folder / "netrc").write_text(f"machine {host} login ann password secret\n")
    (folder / "netrc").chmod(0o600)


@pytest.mark.parametrize("token", [None, "old"])
def test_another_server_gets_the_users_credentials_as_without_the_plugin(
    load: Load, tmp_path: Path, token: str | None
) -> None:
    module = load(wiring=WIRED, token="new", MLFLOW_TRACKING_TOKEN="old")
    netrc(tmp_path, "other.example")
    assert sent(module, "http://other.example", token=token)["Authorization"] == basic("ann", "secret")
    assert "Authorization" not in sent(module, "http://third.example", token=token)
    assert sent(module, "http://bob:pass@third.example", token=token)["Authorization"] == basic("bob", "pass")


def test_credentials_in_a_url_are_used_even_on_the_wired_server(load: Load) -> None:
    module = load(wiring=WIRED, token="new", MLFLOW_TRACKING_TOKEN="old")
    found = sent(module, "http://bob:pass@mlflow.example:5000", token="old")
    assert found["Authorization"] == basic("bob", "pass")


def test_the_users_netrc_file_is_used_where_there_is_no_token(load: Load, tmp_path: Path) -> None:
    module = load(wiring=WIRED)
    netrc(tmp_path, "mlflow.example")
    assert sent(module, SERVER)["Authorization"] == basic("ann", "secret")
    (tmp_path / "token").write_text("new")
    assert sent(module, SERVER)["Authorization"] == "Bearer new"


@pytest.mark.parametrize("wiring", ["", "{", "[]", "null", '"x"', '{"tracking_uri": 5}', '{"tracking_uri": "x"}', "\0"])
def test_without_a_wiring_that_can_be_read_no_server_gets_a_token(load: Load, wiring: str) -> None:
    module = load(wiring=wiring, token="new", MLFLOW_TRACKING_TOKEN="old")
    assert "Authorization" not in sent(module, SERVER, token="old")
