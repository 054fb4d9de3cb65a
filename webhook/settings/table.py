"""All settings in one table: the fields of Settings make the names in the file, the variables, the help, the docs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

from webhook.core.configuration import (
    Platform,
    SecretKey,
    Source,
    Sourced,
    parse_bool,
    parse_secret,
    parse_tracking_uri,
)
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
ENV_HELP = "Further variables for every wired container: a mapping of names to values. In the file only."

_LIFETIME = duration("5s", "3650d")


class Setting(NamedTuple):
    """One setting. `parse` takes text, and raises ValueError, which says what is allowed."""

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
    """Describe a field of Settings: how its text is read, its default as text, and what it is for."""
    return field(metadata={"parse": parse, "default": default, "help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was set, checked. `sources` tells where each value came from, by field."""

    tracking_uri: str = setting(
        parse_tracking_uri, "http://mlflow-tracking-server.kubeflow:5000", "The tracking server that pods are wired to."
    )
    token_secret: SecretKey = setting(
        parse_secret,
        "mlflow-token/token",
        "NAME or NAME/KEY of the Secret in the pod's namespace that holds the token.",
    )
    token_optional: bool | None = setting(
        parse_optional_bool,
        "auto",
        "Whether a pod may start without that Secret: true, false, or auto (not when the pod itself asks to be wired).",
    )
    workspaces: bool = setting(
        parse_bool,
        "true",
        "Whether the server has workspaces. false for a server without: MLFLOW_WORKSPACE is fatal for its clients.",
    )
    experiment: str | None = setting(
        parse_optional_experiment, "", "The experiment of every run. Empty: the pipeline's or the TrainJob's name."
    )
    lineage: bool = setting(parse_bool, "true", "Whether runs are tagged with where they come from.")
    pipeline_run_url: str = setting(
        parse_pipeline_run_url,
        "",
        "The page of a pipeline run, with `{namespace}` and `{run_id}`: "
        "the tag `kfp.pipeline_run_url` of a component's runs. Empty: no such tag.",
    )
    mlflow_url: str = setting(
        parse_mlflow_url,
        "",
        "The address at which people open MLflow in a browser; `{workspace}` is replaced. Empty: not known.",
    )
    client_plugin: bool = setting(
        parse_bool,
        "false",
        "Whether wired containers get the MLflow client plugin. It sets PYTHONPATH, which hides one set by the image.",
    )

    listen_address: str = setting(parse_address, "0.0.0.0", "The address to listen on.")  # noqa: S104 - a pod's own address
    listen_port: int = setting(parse_port, "8443", "The port to listen on, for HTTPS.")
    body_limit: int = setting(parse_size, "7Mi", "The largest review taken; the largest a webhook written in Go takes.")
    lookup_timeout: timedelta = setting(
        duration("10ms", "30s"), "2s", "How long a live lookup of a namespace may take."
    )
    shutdown_delay: timedelta = setting(
        duration("0s", "1h"),
        "5s",
        "How long to keep serving after SIGTERM, until the cluster has noticed that the pod is going.",
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
    log_format: str = setting(one_of("json", "text"), "json", "How log lines are written: json or text.")
    log_level: str = setting(
        one_of("debug", "info", "warning", "error"),
        "info",
        "The lowest level that is logged: debug, info, warning or error.",
    )

    certificates: str = setting(
        one_of("self-signed", "files"),
        "self-signed",
        "Where certificates come from: self-signed (the webhook makes a CA), or files that something else renews.",
    )
    certificate_directory: str = setting(
        parse_folder, "/certs", "For files: the folder of tls.crt and tls.key; they are read again when they change."
    )
    service_name: str = setting(parse_label, "mlflow-webhook", "The Service that the certificate names.")
    certificate_names: tuple[str, ...] = setting(
        parse_names, "", "Further DNS names and IP addresses for the certificate, comma-separated, for calls by URL."
    )
    namespace: str = setting(parse_optional_label, "", "The webhook's own namespace. Empty: the service account's.")
    configuration_name: str = setting(
        parse_name, "mlflow-webhook", "The MutatingWebhookConfiguration whose caBundle is kept."
    )
    ca_secret_name: str = setting(parse_name, "mlflow-webhook-ca", "The Secret that holds the CA.")
    lease_name: str = setting(parse_name, "mlflow-webhook", "The Lease by which one replica at a time writes.")
    identity: str = setting(str, "", "This replica's name in the Lease. Empty: the host name.")
    ca_lifetime: timedelta = setting(
        _LIFETIME, "365d", "How long a CA is valid; it is renewed after two thirds of that."
    )
    leaf_lifetime: timedelta = setting(
        _LIFETIME, "14d", "How long a certificate is valid; renewed after two thirds of that. At most caLifetime."
    )

    env: Mapping[str, str]
    sources: Mapping[str, Source]

    @cached_property
    def platform(self) -> Platform:
        """Return what applies to pods, each value with its source. Always the same object."""
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
