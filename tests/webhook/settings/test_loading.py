from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from webhook.core.configuration import Source
from webhook.settings import SETTINGS, SettingsError, load_settings


def write(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_the_defaults_are_allowed_and_are_called_defaults() -> None:
    settings = load_settings(environment={})
    assert settings.platform.tracking_uri.source is Source.DEFAULT
    assert settings.shutdown_delay == timedelta(seconds=5)


def test_the_command_line_overrides_the_environment_and_that_overrides_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "trackingUri: http://file\nlistenPort: 1\nworkspaces: false\n")
    environment = {"MLFLOW_WEBHOOK_TRACKING_URI": "http://environment", "MLFLOW_WEBHOOK_LISTEN_PORT": "2"}
    settings = load_settings(file=file, environment=environment, overrides={"listenPort": "3"})
    assert settings.platform.tracking_uri == ("http://environment", Source.PLATFORM)
    assert settings.platform.workspaces == (False, Source.PLATFORM)
    assert settings.listen_port == 3


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("listenPort: 99999", ["listenPort", '"99999"', "0 to 65535"]),
        ("trackingUri: mlflow", ["trackingUri", "http://"]),
        ("trackingUri: http://me:secret@mlflow", ["trackingUri", "no user name"]),
        (
            "pipelineRunUrl: https://h/{run}",
            ["pipelineRunUrl", '"https://h/{run}"', "{namespace} (optional)", "{run_id}"],
        ),
        ("mlflowUrl: mlflow.example.com", ["mlflowUrl", "http:// or https://", "{workspace}"]),
        ("tokenSecret: A/b", ["tokenSecret", "NAME/KEY"]),
        ("lookupTimeout: 5", ["lookupTimeout", "10s"]),
        ("lookupTimeout: 0s", ["lookupTimeout", "from 10ms to 30s"]),
        ("shutdownDelay: 2h", ["shutdownDelay", "from 0s to 1h"]),
        (f"caLifetime: {'9' * 400}d", ["caLifetime", "from 5s to 3650d"]),
        ("leafLifetime: 0s", ["leafLifetime", "from 5s to 3650d"]),
        ("caLifetime: 1d", ['leafLifetime: "14d" (default)', 'at most caLifetime, "1d"']),
        ("certificateDirectory: ''", ["certificateDirectory", "path of a folder"]),
        ("bodyLimit: 7MB", ["bodyLimit", "7Mi"]),
        ("workspaces: perhaps", ["workspaces", '"true" or "false"']),
        ("colour: red", ["colour", "is an unknown setting"]),
        ("trackingUri: [a]", ["trackingUri", "single value"]),
        ("env: {MLFLOW_TRACKING_TOKEN: x}", ["MLFLOW_TRACKING_TOKEN", "not allowed"]),
        ("env: {A: [1]}", ["value of A", "single value"]),
        ("listenPort: 1\nlistenPort: 2", ["line 2", "duplicate key listenPort"]),
        ("env: {A: b, A: c}", ["duplicate key A"]),
        ("workspaces: yes", ["workspaces", '"yes"', '"true" or "false"']),
        ("listenPort: 0x1F", ["listenPort", '"0x1F"']),
        ("trackingUri:", ["trackingUri", "http://"]),
        ("bodyLimit: 1", ["bodyLimit", "from 64Ki"]),
        ("serviceName: a..b", ["serviceName", "the name of a Service"]),
        ('certificateNames: "*,..,-"', ["certificateNames", "DNS names"]),
        ("clientNames: kube-apiserver", ["clientNames", "no effect without clientCaFile"]),
        ("env: {1-A: x}", ["1-A", "not a valid name"]),
        ("- a", ["mapping"]),
        ("a: [", ["not YAML", "line"]),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_what_is_allowed(
    tmp_path: Path, text: str, names: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(file=write(tmp_path, text), environment={})
    assert all(name in str(caught.value) for name in names)


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(file=write(tmp_path, "listenPort: x\nlogLevel: loud"), environment={"MLFLOW_WEBHOOK_X": "1"})
    assert len(str(caught.value).splitlines()) == 3


def test_variables_that_kubernetes_sets_for_a_service_are_not_settings() -> None:
    links = {"MLFLOW_WEBHOOK_PORT": "tcp://10.0.0.1:443", "MLFLOW_WEBHOOK_SERVICE_HOST": "10.0.0.1"}
    assert load_settings(environment=links).listen_port == 8443


def test_variables_of_a_wired_pod_are_not_settings() -> None:
    assert load_settings(environment={"MLFLOW_WEBHOOK_POD_NAME": "p"}).listen_port == 8443


def test_every_setting_has_a_variable_of_its_own_and_help() -> None:
    assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.help.endswith(".") for setting in SETTINGS)


def test_values_are_read_as_text(tmp_path: Path) -> None:
    text = "experiment: 1.10\nenv: {A: 0777, B: 12:30, C: yes, D: 1_000}"
    platform = load_settings(file=write(tmp_path, text), environment={}).platform
    assert platform.experiment.value == "1.10"
    assert platform.env == {"A": "0777", "B": "12:30", "C": "yes", "D": "1_000"}


def test_a_password_in_a_wrong_address_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(file=write(tmp_path, "trackingUri: http://me:planted@mlflow"), environment={})
    assert "planted" not in str(caught.value)


def test_the_addresses_for_people_are_templates_and_off_unless_set(tmp_path: Path) -> None:
    unset = load_settings(environment={})
    assert (unset.mlflow_url, unset.platform.pipeline_run_url) == ("", "")
    page = "https://h/_/pipeline/?ns={namespace}#/runs/details/{run_id}"
    file = write(tmp_path, f"pipelineRunUrl: '{page}'\nmlflowUrl: https://m/?workspace={{workspace}}\n")
    settings = load_settings(file=file, environment={})
    assert settings.platform.pipeline_run_url == page
    assert settings.mlflow_url == "https://m/?workspace={workspace}"
