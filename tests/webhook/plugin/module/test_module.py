"""The plugin's module by itself, as a process in a container loads it. Also runs on Python 3.8: `make test-pythons`."""

from __future__ import annotations

import importlib.util
import json
from base64 import urlsafe_b64encode
from pathlib import Path
from types import ModuleType
from typing import Any, Callable  # noqa: UP035 - that of collections.abc takes no parameters before Python 3.9

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url

from tests.support.servers import OTHERS
from tests.support.servers import SERVER as CONFIGURED

MODULE = "mlflow_webhook_plugin"
SOURCE = Path(__file__).parents[4] / "webhook" / "plugin" / f"{MODULE}.py"
SERVER = "http://mlflow.example:5000"
Load = Callable[..., ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return what loads the module as a process in a container would, with these files and variables."""

    def loaded(*, wiring: str = "{}", token: str = "", **environment: str) -> ModuleType:
        folder = tmp_path / "python"
        folder.mkdir(exist_ok=True)
        (folder / SOURCE.name).write_text(SOURCE.read_text())
        (tmp_path / "wiring.json").write_text(wiring)
        (tmp_path / "token").write_text(token)
        for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_WORKSPACE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location(f"webhook.plugin.{MODULE}", folder / SOURCE.name)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


def prepared(url: str, *, token: str | None = None, body: Any = None) -> requests.PreparedRequest:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.Request("POST" if body is not None else "GET", url, headers=headers, json=body).prepare()


def sent(module: ModuleType, request: requests.PreparedRequest) -> dict[str, str]:
    return dict(module.AuthProvider().get_auth()(request).headers)


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


def create(module: ModuleType, **run: Any) -> dict[str, Any]:
    request = prepared(f"{SERVER}/api/2.0/mlflow/runs/create", body=run)
    body: dict[str, Any] = json.loads(module.AuthProvider().get_auth()(request).body)
    return body


def named(*tags: tuple[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags]


def test_the_first_run_has_the_default_name_later_ones_a_number_and_nested_ones_none(load: Load) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}))
    default = ("mlflow.runName", "train")
    assert create(module, tags=named(default))["tags"] == named(default)
    assert create(module, tags=named(("a", "b"), default))["tags"] == named(("a", "b"), ("mlflow.runName", "train-2"))
    nested = named(("mlflow.parentRunId", "1"), default)
    assert create(module, tags=nested)["tags"] == named(("mlflow.parentRunId", "1"))
    assert create(module, tags=named(default))["tags"] == named(("mlflow.runName", "train-3"))


@pytest.mark.parametrize(
    "run",
    [
        {"tags": named(("mlflow.runName", "mine"))},
        {"run_name": "mine", "tags": named(("mlflow.runName", "train"))},
        {"tags": []},
        {"tags": None},
        {},
        {"tags": "strange"},
        {"tags": [5]},
        [],
        5,
    ],
)
def test_a_name_that_the_code_gives_stays(load: Load, run: Any) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}))
    request = prepared(f"{SERVER}/api/2.0/mlflow/runs/create", body=run)
    assert json.loads(module.AuthProvider().get_auth()(request).body) == run


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_EXPERIMENT_NAME": "wired"}, None),
        ({"MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_EXPERIMENT_NAME": "theirs"}, "theirs"),
        ({"MLFLOW_EXPERIMENT_NAME": "wired"}, "wired"),
    ],
)
def test_the_id_that_a_parent_process_left_wins_over_the_name_that_the_webhook_gave(
    load: Load, environment: dict[str, str], name: str | None
) -> None:
    module = load(wiring=json.dumps({"experiment": "wired"}), **environment)
    assert module.os.environ.get("MLFLOW_EXPERIMENT_NAME") == name


def jwt(**claims: Any) -> str:
    return f"e30.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.x"


@pytest.mark.parametrize(
    ("token", "tags"),
    [
        (jwt(email="ann@example.com", sub="opaque"), {"mlflow.user": "ann@example.com"}),
        (jwt(sub="opaque"), {"mlflow.user": "opaque"}),
        (jwt(), {}),
        (jwt(email=5), {}),
        ("no.jwt.at-all", {}),
        ("opaque", {}),
        ("e30.W10.x", {}),
        ("", {}),
    ],
)
def test_a_runs_user_is_the_tokens(load: Load, token: str, tags: dict[str, str]) -> None:
    provider = load(token=token).UserProvider()
    assert provider.tags() == tags
    assert provider.in_context() is bool(tags)


@given(
    url=st.text() | st.sampled_from([SERVER, f"{SERVER}/api/2.0/mlflow/runs/create", "http://[", "http://x:99999"]),
    authorization=st.text(),
    body=st.none() | st.text() | st.binary(),
    token=st.text(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_never_raises_for_any_request(load: Load, url: str, authorization: str, body: Any, token: str) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}))
    module.WIRING.token = lambda: token
    request = requests.PreparedRequest()
    request.method, request.url, request.body = "POST", url, body
    request.headers = requests.structures.CaseInsensitiveDict({"Authorization": authorization})
    assert module.AuthProvider().get_auth()(request) is request
    assert isinstance(module.UserProvider().tags(), dict)
    assert module.UserProvider().in_context() in {True, False}
