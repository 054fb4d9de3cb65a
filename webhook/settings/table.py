"""All settings in one table. Names in the file, variables, help and docs are made from the fields of Settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

from webhook.core.configuration import Platform, Source, Sourced
from webhook.core.values import SecretKey, parse_bool, parse_secret, parse_tracking_uri
from webhook.plugin import load_plugin
from webhook.settings.parsing import (
    duration,
    one_of,
    parse_address,
    parse_folder,
    parse_label,
    parse_mlflow_url,
    parse_name,
    parse_names,
    parse_optional_bool,
    parse_optional_experiment,
    parse_optional_label,
    parse_pipeline_run_url,
    parse_port,
    parse_size,
    parse_texts,
)

ENVIRONMENT_PREFIX = "MLFLOW_WEBHOOK_"
ENV_HELP = "Additional variables for every wired container: a mapping of names to values. Only in the file."

_LIFETIME = duration("5s", "3650d")


class Setting(NamedTuple):
    """One setting. `parse` reads its text. It raises ValueError, which says what is allowed."""

    field: str
    parse: Callable[[str], Any]
    default: str
    help: str

    @property
    def name(self) -> str:
        """Return the name in the file: ``trackingUri``."""
        return re.sub(r"_([a-z])", lambda match: match[1].upper(), self.field)

    @property
    def variable(self) -> str:
        """Return the environment variable: ``MLFLOW_WEBHOOK_TRACKING_URI``."""
        return ENVIRONMENT_PREFIX + self.field.upper()


def setting(parse: Callable[[str], Any], default: str, help: str) -> Any:  # noqa: A002 - the field's name in Setting
    """Describe a field of Settings: the parser for its text, its default as text, and its help."""
    return field(metadata={"parse": parse, "default": default, "help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The checked settings. `sources`: where each value comes from, by field."""

    tracking_uri: str = setting(
        parse_tracking_uri,
        "http://mlflow-tracking-server.kubeflow:5000",
        "The URL of the tracking server that pods are wired to.",
    )
    token_secret: SecretKey = setting(
        parse_secret,
        "mlflow-token/token",
        "NAME or NAME/KEY of the Secret in the pod's namespace that holds the token.",
    )
    token_optional: bool | None = setting(
        parse_optional_bool,
        "auto",
        "Whether a pod may start without that Secret: true, false, or auto (true, unless the pod itself has the "
        "label).",
    )
    workspaces: bool = setting(
        parse_bool,
        "true",
        "Whether the server has workspaces. If not, set false: clients of such a server fail if MLFLOW_WORKSPACE is "
        "set.",
    )
    experiment: str | None = setting(
        parse_optional_experiment, "", "The experiment of every run. Empty: the pipeline's or the TrainJob's name."
    )
    lineage: bool = setting(
        parse_bool,
        "true",
        "Whether runs get a name and tags that say which pipeline or job they come from.",
    )
    pipeline_run_url: str = setting(
        parse_pipeline_run_url,
        "",
        "The URL of a pipeline run's page, with the placeholders `{namespace}` (optional) and `{run_id}`. "
        "It becomes the tag `kfp.pipeline_run_url` of a component's runs. Empty: no tag.",
    )
    mlflow_url: str = setting(
        parse_mlflow_url,
        "",
        "The URL at which users open MLflow in a browser, with the optional placeholder `{workspace}`. "
        "`mlflow-webhook runs` prints links to it.",
    )
    client_plugin: bool = setting(
        parse_bool,
        "false",
        "Whether wired containers get the MLflow client plugin. It sets PYTHONPATH, which overrides that of the image.",
    )

    listen_address: str = setting(
        parse_address,
        "0.0.0.0",  # noqa: S104 - a pod's own address
        "The address to listen on.",
    )
    listen_port: int = setting(parse_port, "8443", "The port to listen on, for HTTPS.")
    body_limit: int = setting(
        parse_size,
        "7Mi",
        "The largest review that is accepted. Webhooks built with controller-runtime have the limit 7Mi.",
    )
    lookup_timeout: timedelta = setting(
        duration("10ms", "30s"), "2s", "How long a live lookup of a namespace may take."
    )
    shutdown_delay: timedelta = setting(
        duration("0s", "1h"),
        "5s",
        "How long to keep serving after SIGTERM, while the cluster still sends reviews to the stopping pod.",
    )
    client_ca_file: str = setting(
        str,
        "",
        "A file of CA certificates (PEM). If set, only clients with a certificate from one of them may send reviews. "
        "Configure the API server first (docs/security.md).",
    )
    client_names: tuple[str, ...] = setting(
        parse_texts,
        "",
        "For clientCaFile: the common names that a client's certificate may have, comma-separated. Empty: any.",
    )
    log_format: str = setting(one_of("json", "text"), "json", "The format of log lines: json or text.")
    log_level: str = setting(
        one_of("debug", "info", "warning", "error"),
        "info",
        "The lowest level that is logged: debug, info, warning or error.",
    )

    certificates: str = setting(
        one_of("self-signed", "files"),
        "self-signed",
        "Where certificates come from: self-signed (from the webhook's own CA), or files (renewed by another program).",
    )
    certificate_directory: str = setting(
        parse_folder, "/certs", "For files: the folder with tls.crt and tls.key. They are read again when they change."
    )
    service_name: str = setting(parse_label, "mlflow-webhook", "The Service that the certificate names.")
    certificate_names: tuple[str, ...] = setting(
        parse_names,
        "",
        "Additional DNS names and IP addresses in the certificate, comma-separated, if the webhook is called by URL.",
    )
    namespace: str = setting(
        parse_optional_label,
        "",
        "The webhook's own namespace. Empty: that of the service account.",
    )
    configuration_name: str = setting(
        parse_name, "mlflow-webhook", "The MutatingWebhookConfiguration whose caBundle the webhook writes."
    )
    ca_secret_name: str = setting(parse_name, "mlflow-webhook-ca", "The Secret that holds the CA.")
    lease_name: str = setting(parse_name, "mlflow-webhook", "The Lease that lets one replica at a time write.")
    identity: str = setting(str, "", "This replica's name in the Lease. Empty: the host name.")
    ca_lifetime: timedelta = setting(
        _LIFETIME, "365d", "How long a CA is valid. It is renewed after two thirds of that time."
    )
    leaf_lifetime: timedelta = setting(
        _LIFETIME,
        "14d",
        "How long a certificate is valid, at most caLifetime. It is renewed after two thirds of that time.",
    )

    env: Mapping[str, str]
    sources: Mapping[str, Source]

    @cached_property
    def platform(self) -> Platform:
        """Return the settings for pods, each value with its source. Always returns the same object."""
        return Platform(
            tracking_uri=self._sourced("tracking_uri", self.tracking_uri),
            token_secret=self._sourced("token_secret", self.token_secret),
            token_optional=self._sourced("token_optional", self.token_optional),
            workspaces=self._sourced("workspaces", self.workspaces),
            experiment=self._sourced("experiment", self.experiment),
            lineage=self._sourced("lineage", self.lineage),
            pipeline_run_url=self.pipeline_run_url,
            client_plugin=self._sourced("client_plugin", self.client_plugin),
            plugin=load_plugin(),
            env=self.env,
        )

    def _sourced(self, name: str, value: Any) -> Sourced[Any]:
        return Sourced(value, self.sources[name])


SETTINGS = tuple(Setting(field.name, **field.metadata) for field in fields(Settings) if field.metadata)
