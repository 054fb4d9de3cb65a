"""The token goes to the configured server only: a table of other servers, for each variable that names one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.servers import OTHERS, SERVER
from webhook.core import names
from webhook.core.client_plugin import ClientPlugin
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.review import decode_pod

PLUGIN = ClientPlugin(version="1", files={"mod.py": "code"})
REST = "https://mlflow.example.com"
OTHERS_OF_REST = (
    "http://mlflow.example.com",
    "http://mlflow.example.com:443",
    "https://mlflow.example.com:80",
    "https://mlflow.example.com:444",
    "https://mlflow.example.com:4430",
    "https://mlflow.example.com:44",
    "https://mlflow.example.com.au",
    "https://mlflow.example.co",
    "https://example.com",
    "https://xmlflow.example.com",
    "https://user@mlflow.example.com",
    "https://mlflow.example.com@other.example",
)
TABLE = [(SERVER, uri) for uri in OTHERS] + [(REST, uri) for uri in OTHERS_OF_REST]


def answer(
    *env: dict[str, Any],
    server: str,
    own: dict[str, str] | None = None,
    namespaces: dict[str, str] | None = None,
    label: str = "true",
) -> list[dict[str, Any]]:
    """Return the operations for a pod that asks for everything, the client plugin included."""
    metadata = {"name": "p", "labels": {"mlflow-enabled": label}, "annotations": own or {}}
    document = {"metadata": metadata, "spec": {"containers": [{"name": "c", "env": list(env)}]}}
    seen = decode_pod(json.dumps(document).encode())
    namespace = Namespace("team-a", {"mlflow-enabled": "true"}, namespaces or {})
    platform = Platform(tracking_uri=Sourced(server), client_plugin=Sourced(True), plugin=PLUGIN)
    return patch(seen, decide(seen, namespace=namespace, platform=platform))


def has_token(operations: list[dict[str, Any]]) -> bool:
    return "secretKeyRef" in json.dumps(operations) or '"secret"' in json.dumps(operations)


@pytest.mark.parametrize("name", names.TOKEN_SERVERS)
@pytest.mark.parametrize(("server", "uri"), TABLE)
def test_a_container_that_names_another_server_gets_nothing(server: str, uri: str, name: str) -> None:
    assert has_token(answer(server=server))
    direct = answer({"name": name, "value": uri}, server=server)
    indirect = answer({"name": "A", "value": uri}, {"name": name, "value": "$(A)"}, server=server)
    for operations in (direct, indirect):
        assert [operation["path"] for operation in operations] == [
            "/metadata/annotations/mlflow.kubeflow.org~1decision"
        ]


@pytest.mark.parametrize("name", names.TOKEN_SERVERS)
@pytest.mark.parametrize("server", [SERVER, REST])
def test_a_container_that_names_the_configured_server_gets_the_token(server: str, name: str) -> None:
    assert has_token(answer({"name": name, "value": f"{server}/path"}, server=server))


@pytest.mark.parametrize(("server", "uri"), TABLE)
def test_a_pod_that_is_sent_to_another_server_gets_no_token_with_it(server: str, uri: str) -> None:
    operations = answer(server=server, own={"mlflow.kubeflow.org/tracking-uri": uri})
    text = json.dumps(operations)
    # an annotation that is not a server is ignored; one that is another server is followed, without the token
    assert not has_token(operations) or json.dumps({"name": "MLFLOW_TRACKING_URI", "value": server}) in text
    assert not (has_token(operations) and uri != server and json.dumps(uri) in text)


@pytest.mark.parametrize("uri", OTHERS)
def test_a_namespaces_server_is_the_one_that_counts(uri: str) -> None:
    """The namespace is sent to another server, with the token that its owner keeps for that one."""
    theirs = {"mlflow.kubeflow.org/tracking-uri": "https://theirs.example"}
    for name in names.TOKEN_SERVERS:
        assert not has_token(answer({"name": name, "value": SERVER}, server=SERVER, namespaces=theirs))
        assert not has_token(answer({"name": name, "value": uri}, server=SERVER, namespaces=theirs))
        assert has_token(answer({"name": name, "value": "https://theirs.example"}, server=SERVER, namespaces=theirs))
