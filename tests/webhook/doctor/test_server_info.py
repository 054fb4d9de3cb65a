"""Which servers have workspaces: newer ones report it, older ones report only their version."""

from __future__ import annotations

import pytest

from tests.support.proxy import Reply, Server, html, of_json
from tests.webhook.doctor.probing import INFO, ask, reply
from webhook.doctor.findings import Status

FEATURES, VERSION = "/api/3.0/mlflow/server-features", "/version"


@pytest.fixture
def older(server: Server) -> Server:
    """A server from before there were workspaces."""
    reply(INFO, html(404, "<title>404 Not Found</title>"), proxied=False)(server)
    server.replies[VERSION] = html(200, "2.22.0")
    return server


def test_a_server_from_before_workspaces_is_not_a_wrong_path(older: Server) -> None:
    found = ask(older)
    assert found["mlflow-answers"].message == "MLflow 2.22.0 answers"
    assert found["server-workspaces"].code == "workspaces_disabled"
    assert "MLflow 2.22.0 has no workspaces" in found["server-workspaces"].message
    assert "Upgrade the server" in found["server-workspaces"].remedy
    assert "`workspaces: false`" in found["server-workspaces"].remedy


def test_without_a_workspace_such_a_server_is_fine(older: Server) -> None:
    found = ask(older, workspace=None)
    assert {finding.status for finding in found.values()} == {Status.PASSED, Status.SKIPPED}
    assert found["workspace-access"].status is Status.PASSED


@pytest.mark.parametrize("enabled", [True, False])
def test_a_server_may_answer_at_the_older_address(enabled: bool, older: Server) -> None:
    older.replies[FEATURES] = of_json(200, {"workspaces_enabled": enabled})
    found = ask(older)
    assert found["mlflow-answers"].status is Status.PASSED
    assert found["server-workspaces"].code == ("" if enabled else "workspaces_disabled")


def test_a_server_that_says_nothing_of_workspaces_has_none_for_the_client(server: Server) -> None:
    server.replies[INFO] = of_json(200, {})
    assert ask(server)["server-workspaces"].code == "workspaces_disabled"


@pytest.mark.parametrize(
    "version", [html(404, "not found"), html(200, "<html>"), html(200, "9" * 50 + ".1"), of_json(200, {"major": "1"})]
)
def test_what_has_no_version_of_mlflow_is_a_wrong_path(version: Reply, older: Server) -> None:
    older.replies[VERSION] = version
    assert ask(older)["mlflow-answers"].code == "wrong_path"
