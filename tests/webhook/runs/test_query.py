"""The filters of searches, and the links to the runs."""

from __future__ import annotations

import pytest

from tests.webhook.runs.runs import run
from webhook.doctor.pod import Subject
from webhook.runs.query import filter_of, run_link


@pytest.mark.parametrize(
    ("kind", "tag"), [("run", "kfp.pipeline_run_id"), ("trainjob", "trainjob.name"), ("pod", "k8s.pod.name")]
)
def test_a_subject_is_found_by_the_tag_that_the_wiring_gives(kind: str, tag: str) -> None:
    assert filter_of(Subject(kind, "x-1")) == f"tags.`{tag}` = 'x-1'"


def test_a_namespace_is_everything_in_its_workspace() -> None:
    assert filter_of(None) == ""


@pytest.mark.parametrize("name", ["x' OR 1", 'x"', "`", "\\"])
def test_a_name_cannot_change_the_filter(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name of a run"):
        filter_of(Subject("run", name))


@pytest.mark.parametrize(
    ("template", "workspace", "link"),
    [
        ("https://m", "team-a", "https://m/#/experiments/1/runs/a?workspace=team-a"),
        ("https://m/", None, "https://m/#/experiments/1/runs/a"),
        ("https://m/mlflow", "default", "https://m/mlflow/#/experiments/1/runs/a"),
        (
            "https://m/x/?workspace={workspace}#/experiments",
            "team-a",
            "https://m/x/?workspace=team-a#/experiments/1/runs/a?workspace=team-a",
        ),
        ("https://{workspace}.m/", "team-a", "https://team-a.m/#/experiments/1/runs/a?workspace=team-a"),
        ("", "team-a", ""),
    ],
)
def test_the_link_is_mlflows_own_at_the_address_for_people(template: str, workspace: str | None, link: str) -> None:
    assert run_link(template, run(), workspace=workspace) == link


def test_what_the_server_says_cannot_leave_the_link() -> None:
    link = run_link("https://m", run("../x?y#z", experiment_id="a/b c"), workspace=None)
    assert link == "https://m/#/experiments/a%2Fb%20c/runs/..%2Fx%3Fy%23z"
