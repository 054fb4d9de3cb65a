"""The module as a whole: what it does when it is loaded, a run's user, and that it never raises."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.plugin import SERVER, Load


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_EXPERIMENT_NAME": "wired"}, None),
        ({"MLFLOW_EXPERIMENT_ID": "7", "MLFLOW_EXPERIMENT_NAME": "theirs"}, "theirs"),
        ({"MLFLOW_EXPERIMENT_NAME": "wired"}, "wired"),
    ],
)
def test_the_experiment_id_of_a_parent_process_overrides_the_name_from_the_webhook(
    load: Load, environment: dict[str, str], name: str | None
) -> None:
    module = load(wiring=json.dumps({"experiment": "wired"}), **environment)
    assert module.os.environ.get("MLFLOW_EXPERIMENT_NAME") == name


def test_mlflow_finds_it_by_the_name_in_the_pods_variable(load: Load) -> None:
    assert load().AuthProvider().get_name() == "mlflow-webhook"


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
def test_it_never_raises_or_prints_for_any_request(
    load: Load, capfd: pytest.CaptureFixture[str], url: str, authorization: str, body: Any, token: str
) -> None:
    module = load(wiring=json.dumps({"tracking_uri": SERVER, "run_name": "train"}))
    module.WIRING.token = lambda: token
    request = requests.PreparedRequest()
    request.method, request.url, request.body = "POST", url, body
    request.headers = requests.structures.CaseInsensitiveDict({"Authorization": authorization})
    assert module.AuthProvider().get_auth()(request) is request
    assert isinstance(module.UserProvider().tags(), dict)
    assert module.UserProvider().in_context() in {True, False}
    assert capfd.readouterr() == ("", "")
