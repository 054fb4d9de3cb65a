"""Reads and checks the settings from a YAML file and the environment, once, at the start.

The environment overrides the file. The error for an invalid setting says its name, where it is set and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webhook.core.configuration import Source
from webhook.core.names import MANAGED, POD_NAME
from webhook.core.values import hide_password
from webhook.files.events import FormatError
from webhook.files.formats import read_scalars_as_text
from webhook.settings.table import ENVIRONMENT_PREFIX, SETTINGS, Setting, Settings

# Kubernetes itself sets these variables in every pod for a Service named mlflow-webhook.
_SERVICE_LINK = re.compile(r"MLFLOW_WEBHOOK_(SERVICE_(HOST|PORT)|PORT)(_|$)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SettingsError(Exception):
    """One or more settings are invalid. The message has a line for each."""


def load_settings(
    *, file: Path | None = None, environment: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> Settings:
    """Read the file and the environment.

    `overrides` (command-line flags, by the names in the file) override both. Raises SettingsError, which names every
    invalid setting.
    """
    from_file = _read(file) if file else {}
    errors = [*_unknown(from_file, file), *_unknown_variables(environment)]
    texts: dict[str, tuple[str, Source, str]] = {}
    for setting in SETTINGS:
        try:
            texts[setting.field] = _text(setting, from_file, file, environment, overrides or {})
        except ValueError as error:
            errors.append(str(error))
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.field not in texts:
            continue
        text, _, place = texts[setting.field]
        try:
            values[setting.field] = setting.parse(text)
        except ValueError as error:
            errors.append(f'{setting.name}: "{hide_password(text)}" ({place}) is not allowed: expected {error}')
    if values.keys() >= {"ca_lifetime", "leaf_lifetime"} and values["leaf_lifetime"] > values["ca_lifetime"]:
        (leaf, _, place), (ca, _, ca_place) = texts["leaf_lifetime"], texts["ca_lifetime"]
        errors.append(
            f'leafLifetime: "{leaf}" ({place}) is not allowed: expected at most caLifetime, "{ca}" ({ca_place})'
        )
    if values.get("client_names") and not values.get("client_ca_file"):
        errors.append(f"clientNames ({texts['client_names'][2]}) has no effect without clientCaFile")
    env, env_errors = _extras(from_file.get("env"), file)
    if errors := [*errors, *env_errors]:
        raise SettingsError("\n".join(errors))
    sources = {field: source for field, (_, source, _) in texts.items()}
    return Settings(**values, env=env, sources=sources)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_scalars_as_text(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file} is not UTF-8") from error
    except FormatError as error:
        raise SettingsError(f"{file}: {error}") from error
    if not content:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file} must contain a mapping of settings, such as `trackingUri: http://…`")
    return content


def _unknown(from_file: Mapping[str, Any], file: Path | None) -> Iterator[str]:
    known = {setting.name for setting in SETTINGS} | {"env"}
    for name in from_file:
        if name not in known:
            yield f"{name} ({file}) is an unknown setting; known settings are {', '.join(sorted(known))}"


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = {setting.variable for setting in SETTINGS}
    # the webhook sets POD_NAME in wired pods, where the commands may be called
    ignored = {POD_NAME}
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known | ignored and not _SERVICE_LINK.match(name):
            yield f"{name} (environment) is an unknown setting; known settings are {', '.join(sorted(known))}"


def _text(
    setting: Setting,
    from_file: Mapping[str, Any],
    file: Path | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, str],
) -> tuple[str, Source, str]:
    if setting.name in overrides:
        return overrides[setting.name], Source.PLATFORM, "command line"
    if setting.variable in environment:
        return environment[setting.variable], Source.PLATFORM, setting.variable
    if setting.name not in from_file:
        return setting.default, Source.DEFAULT, "default"
    value = from_file[setting.name]
    if not isinstance(value, str):
        raise ValueError(f"{setting.name} ({file}) must be a single value")  # noqa: TRY004 - a mistake in the file
    return value, Source.PLATFORM, str(file)


def _extras(env: Any, file: Path | None) -> tuple[dict[str, str], list[str]]:
    if not env:
        return {}, []
    if not isinstance(env, dict):
        return {}, [f"env ({file}) must be a mapping of variable names to values"]
    errors = []
    for name, value in env.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            errors.append(f"env: {name!r} ({file}) is not a valid name of an environment variable")
        elif name in MANAGED:
            errors.append(f"env: {name} ({file}) is not allowed: the webhook sets this variable itself")
        elif not isinstance(value, str):
            errors.append(f"env: the value of {name} ({file}) must be a single value")
    return dict(env), errors
