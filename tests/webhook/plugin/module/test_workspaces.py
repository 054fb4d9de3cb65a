"""The workspace, for MLflow's clients before 3.10, which do not support workspaces."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
import requests

from tests.support.plugin import SERVER, Load, prepared

HEADER = "X-MLFLOW-WORKSPACE"
WIRED = json.dumps({"tracking_uri": SERVER, "workspace": "team-a"})


@pytest.fixture(params=["an old client", "no client"])
def old_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    if request.param == "an old client":
        monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))


@pytest.mark.usefixtures("old_client")
def test_an_old_client_sends_the_workspace_that_the_webhook_set(load: Load) -> None:
    assert prepared(load(wiring=WIRED), SERVER).headers[HEADER] == "team-a"


@pytest.mark.usefixtures("old_client")
@pytest.mark.parametrize(("variable", "workspace"), [("team-b", "team-b"), ("", "team-a")])
def test_the_workspace_of_the_code_is_not_changed(load: Load, variable: str, workspace: str) -> None:
    module = load(wiring=WIRED, MLFLOW_WORKSPACE=variable)
    assert prepared(module, SERVER).headers[HEADER] == workspace


@pytest.mark.usefixtures("old_client")
def test_a_workspace_in_the_request_stays(load: Load) -> None:
    auth = load(wiring=WIRED).AuthProvider().get_auth()
    request = requests.Request("GET", SERVER, headers={"x-mlflow-workspace": "team-c"}, auth=auth).prepare()
    assert request.headers[HEADER] == "team-c"


@pytest.mark.usefixtures("old_client")
@pytest.mark.parametrize("wiring", [{"tracking_uri": SERVER}, {"tracking_uri": SERVER, "workspace": None}])
def test_without_a_workspace_none_is_sent(load: Load, wiring: dict[str, str | None]) -> None:
    module = load(wiring=json.dumps(wiring), MLFLOW_WORKSPACE="team-b")
    assert HEADER not in prepared(module, SERVER).headers


@pytest.mark.usefixtures("old_client")
def test_another_server_gets_no_workspace(load: Load) -> None:
    assert HEADER not in prepared(load(wiring=WIRED), "http://other.example").headers


def test_a_client_that_supports_workspaces_sends_its_own(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = ModuleType("mlflow")
    monkeypatch.setattr(mlflow, "set_workspace", print, raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    assert HEADER not in prepared(load(wiring=WIRED), SERVER).headers
