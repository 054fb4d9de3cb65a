"""The filters for searches of the tracking server, and the links to their results. Pure.

The filters' grammar: mlflow 3.17.2, utils/search_utils.py (`SearchUtils`).
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from webhook.core.lineage import PIPELINE_RUN_ID
from webhook.core.links import fill_link
from webhook.doctor.pod import Subject
from webhook.runs.run import PARENT, POD, TRAINJOB, Run

_TAGS = {"run": PIPELINE_RUN_ID, "trainjob": TRAINJOB, "pod": POD}

NESTED_WITHOUT_LINEAGE = f"tags.`{PARENT}` IS NOT NULL AND tags.`{POD}` IS NULL"
"""Nested runs without the wiring's tags: runs that MlflowClient created, or a process with another environment."""


def filter_of(subject: Subject | None) -> str:
    """Return the filter that finds the runs of a subject by their tags; without a subject, an empty one."""
    if subject is None:
        return ""
    if not set("'\"\\`").isdisjoint(subject.name):
        raise ValueError(f"{subject.name!r} is not a valid name of a {subject.kind}")
    return f"tags.`{_TAGS[subject.kind]}` = '{subject.name}'"


def run_link(template: str, run: Run, *, workspace: str | None) -> str:
    """Return the page of a run in MLflow's UI; empty without a template (the setting `mlflowUrl`).

    MLflow's own client prints the same URL (mlflow 3.17.2: tracking/_tracking_service/client.py). The UI expects the
    workspace in the fragment.
    """
    if not template:
        return ""
    base = urlsplit(fill_link(template, workspace=workspace or "default"))
    path = base.path if base.path.endswith("/") else f"{base.path}/"
    page = f"/experiments/{quote(run.experiment_id, safe='')}/runs/{quote(run.id, safe='')}"
    if workspace and workspace != "default":
        page += f"?workspace={quote(workspace, safe='')}"
    return base._replace(path=path, fragment=page).geturl()
