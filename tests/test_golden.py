"""The webhook's answers are those in the golden files, and the golden files show everything that the README promises.

After a change that is meant to change answers: `make golden`, then read the diff of tests/data/golden.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.golden import FOLDER, Case, ask, cases, golden_files, render, without
from webhook.core import names
from webhook.core.client_plugin import VARIABLES as PLUGIN_VARIABLES
from webhook.core.client_plugin import PluginObstacle
from webhook.core.configuration import ANNOTATION_KEYS
from webhook.core.names import ANNOTATION_GROUP, LABEL
from webhook.core.reasons import Reason
from webhook.core.wiring import Group

CASES = cases()
README = (Path(__file__).parents[1] / "README.md").read_text()
KINDS = {"kfp_component", "trainjob_node"}
OWN = {
    Group.SERVER: {names.TRACKING_URI},
    Group.WORKSPACE: {names.WORKSPACE},
    Group.IDENTITY: names.CREDENTIALS,
    Group.EXPERIMENT: names.EXPERIMENT_CHOICES,
    Group.LINEAGE: {names.RUN_CONTEXT, names.POD_NAME},
    Group.PLUGIN: {*PLUGIN_VARIABLES},
    Group.EXTRAS: {"AWS_REGION"},
}
"""For each group, the variables of a container because of which it is left out."""
SETTINGS = [
    "trackingUri",
    "tokenSecret",
    "tokenOptional",
    "workspaces",
    "experiment",
    "lineage",
    "pipelineRunUrl",
    "clientPlugin",
    "env",
]
"""Those that decide what a pod gets."""


def golden(case: Case) -> dict[str, Any]:
    document = yaml.load(case.golden.read_text(), Loader=yaml.CSafeLoader)
    response: dict[str, Any] = document["response"]
    return response


GOLDEN = {case.name: golden(case) for case in CASES if case.golden.exists()}


def given_names(name: str) -> set[str]:
    """Return the variables in an answer's patch."""
    values = [operation["value"] for operation in GOLDEN[name].get("patch", ()) if "/env" in operation["path"]]
    entries = [entry for value in values for entry in (value if isinstance(value, list) else [value])]
    return {entry["name"] for entry in entries}


def record(name: str) -> dict[str, Any]:
    """Return the record that an answer writes on the pod, or an empty dict."""
    for operation in GOLDEN[name].get("patch", ()):
        if operation["path"].endswith("mlflow.kubeflow.org~1decision"):
            return dict(json.loads(operation["value"]))
        if operation["path"] == "/metadata/annotations":
            return dict(json.loads(operation["value"].get(names.DECISION_ANNOTATION, "{}")))
    return {}


def label(there: dict[str, Any] | None) -> str | None:
    """Return the label of a pod's metadata or of a namespace."""
    found: str | None = ((there or {}).get("labels") or {}).get(LABEL)
    return found


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table in the README whose head begins like this, with the code in a cell for the cell."""
    (found,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found.splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_the_one_in_the_golden_file(case: Case) -> None:
    assert case.golden.exists(), "there is no golden file for this input; write it with: make golden"
    assert render(ask(case)) == case.golden.read_text(), (
        "the answer is another one; if that is what you want, write it with `make golden` and read the diff"
    )


def test_every_golden_file_has_an_input() -> None:
    left = golden_files() - {case.golden for case in CASES}
    assert not left, f"no input for {sorted(map(str, left))}; delete them with: make golden"


def test_there_is_nothing_else_in_the_folder() -> None:
    others = {path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".yaml"}
    assert not others


@pytest.mark.parametrize("reason", Reason)
def test_a_golden_answer_shows_each_reason(reason: Reason) -> None:
    shown = {answer["auditAnnotations"]["reason"]: name for name, answer in GOLDEN.items()}
    assert reason in shown
    answer = GOLDEN[shown[reason]]
    assert answer["auditAnnotations"]["decision"] == reason.verdict
    assert bool(record(shown[reason])) is reason.recorded


@pytest.mark.parametrize(
    ("pod_label", "namespace_label", "training", "other"), table("pod label"), ids=lambda cell: cell.strip("`")
)
def test_a_golden_answer_shows_each_row_of_the_readmes_table_of_labels(
    pod_label: str, namespace_label: str, training: str, other: str
) -> None:
    own = json.loads(pod_label.strip("`")) if "`" in pod_label else None
    spaces: list[str | None] = {
        "any": ["true", None],
        "anything else": [None, "false", "yes"],
    }.get(namespace_label) or [json.loads(namespace_label.strip("`"))]
    for space in spaces:
        there = [
            case
            for case in CASES
            if case.name.startswith("written/labels/")
            and label(case.pod["metadata"]) == own
            and label(case.namespace) == space
        ]
        shown: dict[str, set[str]] = {}
        for case in there:
            audit = GOLDEN[case.name]["auditAnnotations"]
            result = audit["reason"].replace("_", " ") if audit["decision"] == "skipped" else "wired"
            shown.setdefault(audit["workload"], set()).add(result)
            assert bool(given_names(case.name)) is (result == "wired")
        assert shown == {"kfp_component": {training}, "trainjob_node": {training}, "other_pod": {other}}


@pytest.mark.parametrize(("group", "given", "_left_out"), table("group"))
def test_golden_answers_show_each_row_of_the_readmes_table_of_variables(group: str, given: str, _left_out: str) -> None:
    variables = {found for found in re.findall(r"`(\w+)`", given) if found.isupper()} or {"AWS_REGION"}
    wired = [case for case in CASES if GOLDEN[case.name]["auditAnnotations"]["decision"] == "wired"]
    assert any(variables <= given_names(case.name) for case in wired)
    for own in OWN[Group(group)]:
        left_out = [
            case
            for case in wired
            if case.name.startswith("written/") and own in present(case) and not given_names(case.name) & variables
        ]
        assert left_out, f"no answer shows that {sorted(variables)} are left out when the container has {own}"


def present(case: Case) -> set[str]:
    containers = case.pod.get("spec", {}).get("containers", [])
    return {entry["name"] for container in containers for entry in container.get("env", [])}


def test_every_group_of_variables_is_in_the_readmes_table() -> None:
    assert [row[0] for row in table("group")] == list(Group)


@pytest.mark.parametrize("place", ["pod", "namespace"])
@pytest.mark.parametrize("key", [row[0].strip("`") for row in table("key")])
def test_golden_answers_show_that_each_annotation_has_an_effect_and_that_a_wrong_value_is_named(
    key: str, place: str
) -> None:
    name = f"{ANNOTATION_GROUP}/{key}"
    where = ("pod", "metadata") if place == "pod" else ("namespace",)
    shown = [case for case in CASES if case.name.startswith("written/") and name in annotations_of(case, place)]
    complaint = f"annotation {name} of the {place} is ignored: "
    warned = [case for case in shown if complaint in str(GOLDEN[case.name].get("warnings"))]
    assert warned
    if ANNOTATION_KEYS[key].pod_only and place != "pod":
        return
    effects = [
        case for case in shown if case not in warned and ask(without(case, *where, "annotations", name)) != ask(case)
    ]
    assert effects


def annotations_of(case: Case, place: str) -> dict[str, str]:
    there = case.pod["metadata"] if place == "pod" else case.namespace or {}
    return there.get("annotations") or {}


@pytest.mark.parametrize("setting", SETTINGS)
def test_golden_answers_show_that_each_setting_has_an_effect(setting: str) -> None:
    shown = [case for case in CASES if setting in case.settings]
    assert any(ask(without(case, "settings", setting)) != ask(case) for case in shown)


@pytest.mark.parametrize("outcome", ["on", *PluginObstacle])
def test_a_golden_answer_shows_each_obstacle_of_the_client_plugin(outcome: str) -> None:
    assert any(outcome in record(name).get("clientPlugin", {}).values() for name in GOLDEN)


@pytest.mark.parametrize("optional", [True, False])
def test_golden_answers_show_the_token_required_and_optional(optional: bool) -> None:
    assert any(f"'optional': {optional}" in str(answer) for answer in GOLDEN.values())


def test_a_golden_answer_shows_the_refusal_with_its_message() -> None:
    refused = [answer for answer in GOLDEN.values() if not answer["allowed"]]
    assert refused
    for answer in refused:
        assert answer["status"]["code"] == 429
        assert "retry" in answer["status"]["message"]
        assert "patch" not in answer
