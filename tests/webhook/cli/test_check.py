"""`check`: what it prints for scripts, and what the docs say about that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.webhook.cli.calling import call

PAGE = (Path(__file__).parents[3] / "docs" / "checks.md").read_text()
PODS = "/api/v1/namespaces/team-a/pods"


@pytest.fixture
def sections(cluster: Cluster) -> list[dict[str, Any]]:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    missed = {"metadata": {"name": "missed", "labels": {"mlflow-enabled": "true"}}, "spec": spec}
    cluster.objects = {"/api/v1/namespaces/team-a": {"metadata": {"name": "team-a"}}, f"{PODS}/missed": missed}
    found = json.loads(call("check", "pod", "missed", "-o", "json", "--kubeconfig", str(cluster.kubeconfig)).stdout)
    assert isinstance(found, list)
    return found


def test_json_is_an_array_of_sections_also_for_one_pod(sections: list[dict[str, Any]]) -> None:
    assert [(section["section"], section["subject"]) for section in sections] == [("pod", "missed")]
    (finding,) = sections[0]["findings"]
    assert (finding["check"], finding["status"], finding["code"]) == ("pod-wiring", "failed", "not_wired_but_would_be")
    assert finding["remedy"]


def test_the_docs_name_every_key_and_every_section(sections: list[dict[str, Any]]) -> None:
    documented = set(re.findall(r"`([a-z]+)`", PAGE.partition("## JSON\n")[2].partition("\n## ")[0]))
    assert documented >= {*sections[0], *sections[0]["findings"][0], "installation", "namespace", "server", "pod"}


def test_a_namespace_that_does_not_exist_is_named(cluster: Cluster) -> None:
    result = call("check", "team-b", "--kubeconfig", str(cluster.kubeconfig))
    assert (result.exit_code, result.stderr) == (1, "Error: namespace team-b not found\n")
