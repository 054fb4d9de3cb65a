"""Each alert fires when it should, and only then, as Prometheus evaluates it (promtool)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.serving.metrics import Metrics

COMPONENTS = Path(__file__).parents[2] / "manifests" / "components"
RULES = yaml.safe_load((COMPONENTS / "prometheus" / "alerts.yaml").read_text())["spec"]
DASHBOARD = COMPONENTS / "grafana" / "mlflow-webhook.json"
HOUR, DAY = 60, 24 * 60  # minutes

FAIL_OPEN = 'apiserver_admission_webhook_fail_open_count{name="kfp.labelled-namespaces.mlflow.kubeflow.org"}'
LOOK_UP = 'mlflow_webhook_namespace_lookups_total{outcome="failed"}'
ERRORS = "mlflow_webhook_internal_errors_total"
EXPIRY = 'mlflow_webhook_certificate_expiry_timestamp_seconds{certificate="leaf"}'
FAILURES = "mlflow_webhook_certificate_failures_total"
AGE = "mlflow_webhook_namespace_watch_age_seconds"
SUCCESS = 'kube_cronjob_status_last_successful_time{cronjob="mlflow-token-refresh",namespace="team-a"}'
CREATED = 'kube_cronjob_created{cronjob="mlflow-token-refresh",namespace="team-a"}'
SUSPENDED = 'kube_cronjob_spec_suspend{cronjob="mlflow-token-refresh",namespace="team-a"}'

FIRING: list[tuple[str, dict[str, str], int]] = [
    ("MlflowWebhookDown", {'mlflow_webhook_ready{pod="a"}': "0x20", 'mlflow_webhook_ready{pod="b"}': "0x20"}, 10),
    ("MlflowWebhookDown", {}, 10),
    ("MlflowWebhookNotCalled", {FAIL_OPEN: "3x20 4x20"}, 22),
    ("MlflowWebhookNotCalled", {FAIL_OPEN: "_x20 1x20"}, 22),
    ("MlflowWebhookNotCalled", {FAIL_OPEN.replace("kfp", "trainjob"): "_x20 1x20"}, 22),
    ("MlflowWebhookLookupFailed", {LOOK_UP: "0x20 1x20"}, 22),
    ("MlflowWebhookErrors", {ERRORS: "0x20 1x20"}, 22),
    ("MlflowWebhookCertificateEnds", {EXPIRY: f"{DAY * 60}x20"}, 20),
    ("MlflowWebhookUpkeepFails", {FAILURES: "0+2x30"}, 20),
    ("MlflowWebhookWatchSilent", {f'{AGE}{{pod="a"}}': "400x20", f'{AGE}{{pod="b"}}': "1x20"}, 10),
    ("MlflowTokenNotRefreshed", {SUCCESS: "0x300", CREATED: "0x300"}, 3 * HOUR + 1),
    ("MlflowTokenNotRefreshed", {CREATED: "0x300"}, 3 * HOUR + 1),
]
SILENT: list[tuple[str, dict[str, str], int]] = [
    ("MlflowWebhookDown", {'mlflow_webhook_ready{pod="a"}': "0x20", 'mlflow_webhook_ready{pod="b"}': "1x20"}, 10),
    ("MlflowWebhookDown", {"mlflow_webhook_ready": "1x5 0x2 1x20"}, 8),
    ("MlflowWebhookNotCalled", {FAIL_OPEN: "3x40"}, 22),
    ("MlflowWebhookNotCalled", {FAIL_OPEN: "_x20 1x40"}, 40),
    ("MlflowWebhookNotCalled", {FAIL_OPEN.replace("namespaces", "others"): "0x20 5x20"}, 22),
    ("MlflowWebhookLookupFailed", {LOOK_UP: "1x40"}, 22),
    ("MlflowWebhookLookupFailed", {LOOK_UP.replace("failed", "not_found"): "0+300x40"}, 22),
    ("MlflowWebhookLookupFailed", {LOOK_UP.replace("failed", "limited"): "0+300x40"}, 22),
    ("MlflowWebhookErrors", {ERRORS: "0x40"}, 22),
    ("MlflowWebhookCertificateEnds", {EXPIRY: f"{3 * DAY * 60}x20"}, 20),
    ("MlflowWebhookUpkeepFails", {FAILURES: "0+1x30"}, 20),
    ("MlflowWebhookWatchSilent", {AGE: "90x20"}, 10),
    ("MlflowTokenNotRefreshed", {SUCCESS: "0x100 6000x200", CREATED: "0x300"}, 3 * HOUR + 1),
    ("MlflowTokenNotRefreshed", {SUCCESS: "0x300", SUSPENDED: "1x300"}, 3 * HOUR + 1),
    ("MlflowTokenNotRefreshed", {SUCCESS.replace("mlflow-token-refresh", "another"): "0x300"}, 3 * HOUR + 1),
]


def run(promtool: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool), *arguments], input=text, capture_output=True, text=True, check=False)


def evaluated(promtool: Path, alert: str, series: dict[str, str], minute: int, folder: Path, *, firing: int) -> str:
    """Return what promtool finds wrong when so many of these alerts should fire at a minute; nothing when they do."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
    expected = {
        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
        "eval_time": f"{minute}m",
        "exp_samples": [{"value": firing}],
    }
    case: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [expected],
    }
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case]}
    (folder / "test.yaml").write_text(yaml.safe_dump(test))
    done = run(promtool, "test", "rules", str(folder / "test.yaml"))
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(("alert", "series", "minute"), FIRING)
def test_an_alert_fires(promtool: Path, alert: str, series: dict[str, str], minute: int, tmp_path: Path) -> None:
    assert evaluated(promtool, alert, series, minute, tmp_path, firing=1) == ""


@pytest.mark.parametrize(("alert", "series", "minute"), SILENT)
def test_an_alert_is_silent(promtool: Path, alert: str, series: dict[str, str], minute: int, tmp_path: Path) -> None:
    assert evaluated(promtool, alert, series, minute, tmp_path, firing=0) == ""


@pytest.mark.parametrize("cases", [FIRING, SILENT], ids=["firing", "silent"])
def test_every_alert_is_tried(cases: list[tuple[str, dict[str, str], int]]) -> None:
    assert {alert for alert, _, _ in cases} == {rule["alert"] for rule in RULES["groups"][0]["rules"]}


def test_a_webhook_just_started_has_the_series_that_alerts_watch() -> None:
    rendered = Metrics().render().decode()
    for name in (LOOK_UP.rpartition("{")[2].strip("}"), ERRORS, FAILURES):
        assert any(name in line and line.endswith(" 0.0") for line in rendered.splitlines())


def test_the_queries_of_the_dashboard_are_valid_promql(promtool: Path, tmp_path: Path) -> None:
    expressions = re.findall(r'"expr": "((?:[^"\\]|\\.)+)"', DASHBOARD.read_text())
    assert expressions
    asked = [json.loads(f'"{expression}"').replace("$__rate_interval", "5m") for expression in expressions]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = run(promtool, "check", "rules", str(tmp_path / "rules.yaml"))
    assert f"{len(asked)} rules found" in done.stdout, done.stderr


def test_prometheus_accepts_the_rules_and_metrics(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    assert "SUCCESS" in run(promtool, "check", "rules", str(tmp_path / "rules.yaml")).stdout
    checked = run(promtool, "check", "metrics", text=Metrics().render().decode())
    assert (checked.returncode, checked.stderr) == (0, "")
