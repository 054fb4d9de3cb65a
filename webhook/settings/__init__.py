"""What the platform engineer sets: one YAML file and environment variables, checked once, at the start.

SETTINGS is the whole list; the reference in docs/reference.md and the help of `serve` are made from it. The
environment goes before the file. A wrong setting is refused with its name, where it stands, and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from webhook.core.configuration import (
    DNS_LABEL,
    Platform,
    Source,
    Sourced,
    hide_password,
    parse_bool,
    parse_experiment,
    parse_secret,
    parse_tracking_uri,
)
from webhook.core.names import MANAGED, POD_NAME
from webhook.files.formats import FormatError, read_scalars_as_text

ENVIRONMENT_PREFIX = "MLFLOW_WEBHOOK_"
# What Kubernetes itself puts into every pod for a Service called mlflow-webhook; not ours to read.
_SERVICE_LINK = re.compile(r"MLFLOW_WEBHOOK_(SERVICE_(HOST|PORT)|PORT)(_|$)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DNS_NAME = re.compile(rf"(\*\.)?{DNS_LABEL}(\.{DNS_LABEL})*")
_SIZES = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20}


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError("a port number from 0 to 65535 (0: a free one)")
    return int(text)


def _duration(least: str, most: str) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        duration = _seconds(text)
        if not (_seconds(least) <= duration <= _seconds(most)):  # nan is between nothing
            raise ValueError(f"a duration from {least} to {most}, such as 500ms, 10s, 5m, 12h or 30d")
        return timedelta(seconds=duration)

    return parse


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] if match else nan


_LIFETIME = _duration("5s", "3650d")


def _size(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,9})(Ki|Mi)?", text)
    size = int(match[1]) * _SIZES[match[2] or ""] if match else 0
    if not 1 << 16 <= size <= 1 << 30:
        raise ValueError("a size in bytes from 64Ki to 1024Mi, such as 524288, 512Ki or 7Mi")
    return size


def _address(text: str) -> str:
    if not text or any(character.isspace() for character in text):
        raise ValueError("an address to listen on, such as 0.0.0.0, :: or 127.0.0.1")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a Kubernetes name: lower-case letters, digits, hyphens and dots")
    return text


def _label(text: str) -> str:
    if not re.fullmatch(DNS_LABEL, text):
        raise ValueError("1 to 63 lower-case letters, digits and hyphens, as a Service or a namespace is called")
    return text


def _optional_label(text: str) -> str:
    return _label(text) if text else ""


def _folder(text: str) -> str:
    if not text.strip():
        raise ValueError("the path of a folder, such as /certs")
    return text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not all(_DNS_NAME.fullmatch(name.lower()) or _is_address(name) for name in names):
        raise ValueError("DNS names and IP addresses, parted by commas")
    return names


def _optional_bool(text: str) -> bool | None:
    try:
        return None if text == "auto" else parse_bool(text)
    except ValueError:
        raise ValueError('"auto", "true" or "false"') from None


def _optional_experiment(text: str) -> str | None:
    return parse_experiment(text) if text else None


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(f'"{word}"' for word in allowed))
        return text

    return parse


class Setting(NamedTuple):
    """One setting. `parse` takes text, and raises ValueError with what is allowed."""

    name: str
    parse: Callable[[str], Any]
    default: str
    help: str

    @property
    def variable(self) -> str:
        """The environment variable: ``trackingUri`` is ``MLFLOW_WEBHOOK_TRACKING_URI``."""
        return ENVIRONMENT_PREFIX + re.sub(r"([A-Z])", r"_\1", self.name).upper()


_WIRING = (
    Setting(
        "trackingUri",
        parse_tracking_uri,
        "http://mlflow-tracking-server.kubeflow:5000",
        "The tracking server that pods are wired to.",
    ),
    Setting(
        "tokenSecret",
        parse_secret,
        "mlflow-token/token",
        "NAME or NAME/KEY of the Secret in the pod's namespace that holds the token.",
    ),
    Setting(
        "tokenOptional",
        _optional_bool,
        "auto",
        "Whether a pod may start without that Secret: true, false, or auto (not when the pod itself asks to be wired).",
    ),
    Setting(
        "workspaces",
        parse_bool,
        "true",
        "Whether the server has workspaces. false for a server without: MLFLOW_WORKSPACE is fatal for its clients.",
    ),
    Setting(
        "experiment",
        _optional_experiment,
        "",
        "The experiment of every run. Empty: the pipeline's or the TrainJob's name.",
    ),
    Setting("lineage", parse_bool, "true", "Whether runs are tagged with where they come from."),
)
_SERVING = (
    Setting("listenAddress", _address, "0.0.0.0", "The address to listen on."),  # noqa: S104 - a pod's own address
    Setting("listenPort", _port, "8443", "The port to listen on, for HTTPS."),
    Setting("bodyLimit", _size, "7Mi", "The largest review taken; the largest a webhook written in Go takes."),
    Setting("lookupTimeout", _duration("10ms", "30s"), "2s", "How long a live look-up of a namespace may take."),
    Setting(
        "shutdownDelay",
        _duration("0s", "1h"),
        "5s",
        "How long to keep serving after SIGTERM, until the cluster has noticed that the pod is going.",
    ),
    Setting("logFormat", _one_of("json", "text"), "json", "How log lines are written: json or text."),
    Setting(
        "logLevel",
        _one_of("debug", "info", "warning", "error"),
        "info",
        "The least level that is logged: debug, info, warning or error.",
    ),
)
_CERTIFICATES = (
    Setting(
        "certificates",
        _one_of("self-signed", "files"),
        "self-signed",
        "Where certificates come from: self-signed (a CA of the webhook's own), or files that something else renews.",
    ),
    Setting(
        "certificateDirectory",
        _folder,
        "/certs",
        "For files: the folder of tls.crt and tls.key; they are read again when they change.",
    ),
    Setting("serviceName", _label, "mlflow-webhook", "The Service that the certificate names."),
    Setting(
        "certificateNames",
        _names,
        "",
        "Further DNS names and IP addresses for the certificate, parted by commas, for calls by URL.",
    ),
    Setting("namespace", _optional_label, "", "The webhook's own namespace. Empty: the service account's."),
    Setting("configurationName", _name, "mlflow-webhook", "The MutatingWebhookConfiguration whose caBundle is kept."),
    Setting("caSecretName", _name, "mlflow-webhook-ca", "The Secret that holds the CA."),
    Setting("leaseName", _name, "mlflow-webhook", "The Lease by which one replica at a time writes."),
    Setting("identity", str, "", "This replica's name in the Lease. Empty: the host name."),
    Setting("caLifetime", _LIFETIME, "365d", "How long a CA is valid; it is renewed after two thirds of that."),
    Setting(
        "leafLifetime",
        _LIFETIME,
        "14d",
        "How long a certificate is valid; renewed after two thirds of that. At most caLifetime.",
    ),
)
SETTINGS = (*_WIRING, *_SERVING, *_CERTIFICATES)
ENV_HELP = "Further variables for every wired container: a mapping of names to values. In the file only."


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was set: the platform's wiring, and every other setting by name."""

    platform: Platform
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Give a setting's value, by the name it has in the file."""
        return self.values[name]


def load_settings(
    *, file: Path | None = None, environment: Mapping[str, str], overrides: Mapping[str, str] | None = None
) -> Settings:
    """Read the file and the environment; `overrides` (command-line flags) go before both.

    Raises SettingsError, which names every wrong setting.
    """
    from_file = _read(file) if file else {}
    errors = [*_unknown(from_file, file), *_unknown_variables(environment)]
    texts: dict[str, tuple[str, Source, str]] = {}
    for setting in SETTINGS:
        try:
            texts[setting.name] = _text(setting, from_file, file, environment, overrides or {})
        except ValueError as error:
            errors.append(str(error))
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.name not in texts:
            continue
        text, _, place = texts[setting.name]
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            errors.append(f'{setting.name}: "{hide_password(text)}" ({place}) is not allowed: expected {error}')
    if values.keys() >= {"caLifetime", "leafLifetime"} and values["leafLifetime"] > values["caLifetime"]:
        (leaf, _, place), (ca, _, ca_place) = texts["leafLifetime"], texts["caLifetime"]
        errors.append(
            f'leafLifetime: "{leaf}" ({place}) is not allowed: expected at most caLifetime, "{ca}" ({ca_place})'
        )
    env, env_errors = _extras(from_file.get("env"), file)
    if errors := [*errors, *env_errors]:
        raise SettingsError("\n".join(errors))
    sources = {name: source for name, (_, source, _) in texts.items()}
    wiring = {_field(s.name): Sourced(values.pop(s.name), sources[s.name]) for s in _WIRING}
    return Settings(platform=Platform(**wiring, env=env), values=values)


def _field(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


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
        raise SettingsError(f"{file} must hold a mapping of settings, such as `trackingUri: http://…`")
    return content


def _unknown(from_file: Mapping[str, Any], file: Path | None) -> Iterator[str]:
    known = {setting.name for setting in SETTINGS} | {"env"}
    for name in from_file:
        if name not in known:
            yield f"{name} ({file}) is not a setting; there are: {', '.join(sorted(known))}"


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = {setting.variable for setting in SETTINGS}
    # the webhook itself gives POD_NAME to wired pods, in which the commands may be called
    ignored = {POD_NAME}
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known | ignored and not _SERVICE_LINK.match(name):
            yield f"{name} (environment) is not a setting; there are: {', '.join(sorted(known))}"


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
        raise ValueError(f"{setting.name} ({file}) must be a single value")  # noqa: TRY004 - of whoever wrote the file
    return value, Source.PLATFORM, str(file)


def _extras(env: Any, file: Path | None) -> tuple[dict[str, str], list[str]]:
    if not env:
        return {}, []
    if not isinstance(env, dict):
        return {}, [f"env ({file}) must be a mapping of variable names to values"]
    errors = []
    for name, value in env.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            errors.append(f"env: {name!r} ({file}) is not the name of an environment variable")
        elif name in MANAGED:
            errors.append(f"env: {name} ({file}) is not allowed: the webhook sets it by rules of its own")
        elif not isinstance(value, str):
            errors.append(f"env: the value of {name} ({file}) must be a single value")
    return dict(env), errors
