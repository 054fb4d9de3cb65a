"""Every name that a user sees in the doctor's output, a metric, an alert or a setting has its place in the docs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from webhook.cluster import live_reads
from webhook.core import names, sidecars
from webhook.core.client_plugin import PluginObstacle
from webhook.core.configuration import Namespace, Platform
from webhook.core.controllers import CONTROLLERS
from webhook.core.decision import decide
from webhook.core.pod import Pod
from webhook.core.reasons import Reason
from webhook.files import kinds, trials
from webhook.files.explanation import explanation
from webhook.network import NetworkFault
from webhook.serving import mutate, protocol
from webhook.serving.metrics import Metrics
from webhook.settings import ENV_HELP, SETTINGS
from webhook.token.problems import TokenProblem

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "checks.md").read_text()
LINEAGE = (ROOT / "docs" / "lineage.md").read_text()
OTHERS = {
    "content-type",
    "gap-auth",
    "mlflow-token",
    "mlflow-token-refresh",
    "mlflow-webhook",
    "mlflow-webhook-check",
    "www-authenticate",
}
SOURCES = "".join(file.read_text() for file in sorted((ROOT / "webhook" / "doctor").glob("*.py")))
CHECKS = sorted(set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', SOURCES)) - OTHERS)
CODES = sorted(
    set(re.findall(r'(?:(?:failed|warned)\(\s*[A-Z_]+,|Refusal\()\s*"([a-z_]+)"', SOURCES))
    | {fault.value for fault in NetworkFault}
    | {f"token_{problem}" for problem in TokenProblem}
)


def test_there_are_checks_and_codes() -> None:
    assert len(CHECKS) > 15
    assert len(CODES) > 50


def settings_table() -> str:
    rows = "".join(
        f"| `{setting.name}` | `{setting.variable}` | {f'`{setting.default}`' if setting.default else 'none'} "
        f"| {setting.help} |\n"
        for setting in SETTINGS
    )
    head = "| in the file | in the environment | default | what it is |\n|---|---|---|---|\n"
    return f"{head}{rows}| `env` | | none | {ENV_HELP} |\n"


def reasons_table() -> str:
    rows = "".join(
        f"| `{reason}` | {reason.verdict} | {'yes' if reason.recorded else 'no'} | {reason.sentence} |\n"
        for reason in Reason
    )
    return f"| reason | verdict | on the pod | meaning |\n|---|---|---|---|\n{rows}"


def obstacles_table() -> str:
    rows = "\n".join(f"| `{obstacle}` | {obstacle.sentence} |" for obstacle in PluginObstacle)
    return f"| code | meaning |\n|---|---|\n{rows}"


@pytest.mark.parametrize(
    ("name", "table"),
    [("settings", settings_table()), ("reasons", reasons_table()), ("client plugin", obstacles_table())],
)
def test_the_reference_is_what_the_code_says(name: str, table: str) -> None:
    """Run with UPDATE_REFERENCE=1 to write it again."""
    file = ROOT / "docs" / "reference.md"
    page = file.read_text()
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    assert mark
    wanted = before + mark + table + "\n" + rest.partition("\n\n")[2]
    if os.environ.get("UPDATE_REFERENCE"):
        file.write_text(wanted)
    assert page == wanted or os.environ.get("UPDATE_REFERENCE")


def test_every_metric_has_its_row() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rows = dict(re.findall(r"^\| `(mlflow_webhook_\w+)` \|.*\| (.+) \|$", page, re.MULTILINE))
    families = Metrics().registry.collect()
    assert rows == {
        family.name + ("_total" if family.type == "counter" else ""): family.documentation for family in families
    }


def test_every_alert_has_its_row() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rules = yaml.safe_load((ROOT / "manifests" / "components" / "prometheus" / "alerts.yaml").read_text())
    alerts = {rule["alert"]: rule["labels"]["severity"] for rule in rules["spec"]["groups"][0]["rules"]}
    assert dict(re.findall(r"^\| `(Mlflow\w+)` \| (\w+) \|", page, re.MULTILINE)) == alerts


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_has_a_section(check: str) -> None:
    assert f"\n## {check}\n" in PAGE


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_a_row(code: str) -> None:
    assert f"| `{code}` |" in PAGE


def test_every_tag_and_every_sidecar_is_on_the_page_about_lineage() -> None:
    tags = {tag for controller in CONTROLLERS for tag in controller.tags}
    beginnings = {f"{beginning}…" for beginning in sidecars.BY_BEGINNING}
    names = tags | sidecars.BY_NAME | sidecars.WITH_A_LABEL.keys() | beginnings
    assert sorted(name for name in names if f"`{name}`" not in LINEAGE) == []


def test_every_kind_that_is_looked_into_is_on_the_page_about_files() -> None:
    page = (ROOT / "docs" / "files.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z0-9.-]+) \| ([A-Z].*) \|$", page, re.MULTILINE))
    named = {(group.replace("core", ""), kind) for group, names in rows.items() for kind in names.split(", ")}
    assert named == {
        *((kind.group, kind.name) for kind in kinds.KINDS),
        ("trainer.kubeflow.org", "TrainJob with its runtime"),
        (trials.GROUP, trials.KIND),
    }
    assert [other.name for other in kinds.OTHERS if other.name not in page] == []


def test_every_key_of_an_explanation_is_on_the_page_about_files() -> None:
    page = (ROOT / "docs" / "files.md").read_text()
    table = page[page.index("`explain -o json` prints") : page.index("A variable has")]
    keys = [key for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)]
    decision = decide(Pod(), namespace=Namespace("a", {}, {}), platform=Platform())
    assert sorted(keys) == sorted(explanation(Pod(), decision, name="a", namespace=None))


def test_the_security_page_names_the_limits_and_the_variables_of_the_code() -> None:
    page = " ".join((ROOT / "docs" / "security.md").read_text().split())
    assert f"is not read again for {live_reads.MISSING_FOR:g} seconds" in page
    assert f"At most {live_reads.BURST} reads start at once, and {live_reads.PER_SECOND} more each second" in page
    assert f"{mutate.HELD_LIMIT >> 20} MiB for all incomplete bodies" in page
    assert f"{protocol.REQUEST_TIMEOUT:g} seconds for a request to arrive" in page
    assert all(f"`{name}`" in page for name in names.TOKEN_SERVERS)
