"""What `explain` says about pods that are not wired as their authors may expect."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from webhook.cli import cli

FOLDER = Path(__file__).parents[2] / "data" / "explained"
ROWS = {
    "kfp-plugin-configuration-with-a-run-id": ["wired (wired_by_pod_label)"],
    "containers-names-an-init-container-too": [
        "wired (wired_by_pod_label)",
        "containers names the init container prep; init containers are never wired",
    ],
    "containers-names-an-init-container-only": [
        "skipped (no_container)",
        "containers names the init container fetch-model; init containers are never wired",
    ],
    "containers-with-a-typo": [
        "wired (wired_by_pod_label)",
        "containers names the container typo, which is not in the pod",
    ],
    "deployments-target": ["skipped (other_server)", "The variable is MLFLOW_DEPLOYMENTS_TARGET."],
    "env-from": [
        "wired (wired_by_pod_label)",
        "note: the container takes variables from Secret mlflow-creds (envFrom), which cannot be read at admission",
    ],
    "mirror-pod": ["skipped (mirror_pod)", "the pod asks for MLflow wiring but is not wired"],
    "registry-empty": ["wired (wired_by_pod_label)", "Secret mlflow-token"],
    "token-empty": ["skipped (token_empty)", "sets its token to an empty value"],
    "uri-configmap": ["skipped (server_not_readable)", "not known when the pod is created"],
    "uri-empty": ["skipped (server_empty)", "sets its tracking URI to an empty value"],
    "uri-novalue": ["skipped (server_empty)", "sets its tracking URI to an empty value"],
}


def explained(name: str) -> str:
    file = FOLDER / f"{name}.yaml"
    assert isinstance(yaml.safe_load(file.read_text()), dict)
    return CliRunner().invoke(cli, ["explain", "-f", str(file), "--namespace-label", "mlflow-enabled=true"]).stdout


def test_every_file_has_a_row() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_the_reason_and_what_led_to_it_are_named(name: str) -> None:
    printed = explained(name)
    for words in ROWS[name]:
        assert words in printed


@pytest.mark.parametrize("name", ["registry-empty", "token-empty", "uri-configmap", "uri-empty", "uri-novalue"])
def test_empty_and_unknown_values_are_not_called_another_server_or_credentials(name: str) -> None:
    printed = explained(name)
    assert "another server" not in printed
    assert "credentials" not in printed
