"""`serve`: the admission webhook itself."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import click
import yaml

from certs.issue import issue_ca, issue_leaf
from webhook.app import create_app
from webhook.core.configuration import Namespace
from webhook.core.names import LABEL
from webhook.logs import configure_logging, decision_writer
from webhook.metrics import Metrics
from webhook.mutate import Mutate
from webhook.namespaces import StaticNamespaces
from webhook.server import create_server, load_certificate, tls_context
from webhook.settings import ENV_HELP, SETTINGS, Settings, SettingsError, load_settings

_log = logging.getLogger(__name__)


class _Serve(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(s.name, f"{s.help} [{s.variable}; default: {s.default or 'none'}]") for s in SETTINGS]
        with formatter.section("Settings, in the file or (before it) in the environment"):
            formatter.write_dl([*rows, ("env", ENV_HELP)])


@click.command(cls=_Serve)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file (YAML).")
@click.option("--standalone", is_flag=True, help="Need no cluster: own certificate, namespaces from the options below.")
@click.option("--host", help="Set listenAddress.  [standalone: 127.0.0.1]")
@click.option("--port", help="Set listenPort.")
@click.option(
    "--namespace", "names", multiple=True, metavar="NAME", help=f"Standalone: a namespace labelled {LABEL}=true."
)
@click.option(
    "--namespaces",
    "namespaces_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Standalone: a file of Namespaces, as `kubectl get namespaces -o yaml` writes it.",
)
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Standalone: where to write the CA by which clients can verify the certificate.",
)
def serve(
    config: Path | None,
    standalone: bool,
    host: str | None,
    port: str | None,
    names: tuple[str, ...],
    namespaces_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Serve admission reviews over HTTPS: POST /mutate, and GET /healthz, /readyz, /metrics."""
    overrides = {"listenAddress": host or ("127.0.0.1" if standalone else None), "listenPort": port}
    try:
        settings = load_settings(
            file=config,
            environment=os.environ,
            overrides={name: value for name, value in overrides.items() if value is not None},
        )
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    if not standalone:
        raise click.UsageError("only --standalone is built so far; the webhook in a cluster comes next")
    configure_logging(form=settings["logFormat"], level=settings["logLevel"])
    _serve_standalone(settings, StaticNamespaces([*_labelled(names), *_from_file(namespaces_file)]), ca_file)


def _serve_standalone(settings: Settings, namespaces: StaticNamespaces, ca_file: Path | None) -> None:
    now = datetime.now(UTC)
    host: str = settings["listenAddress"]
    ca = issue_ca(common_name="mlflow-webhook standalone CA", lifetime=settings["caLifetime"], now=now)
    leaf = issue_leaf(
        ca,
        dns_names=["localhost"],
        ip_addresses=["127.0.0.1", "::1"],
        lifetime=settings["caLifetime"],
        now=now,
    )
    context = tls_context()
    load_certificate(context, leaf.certificate_pem, leaf.private_key_pem)
    if ca_file:
        try:
            ca_file.write_bytes(ca.certificate_pem)
        except OSError as error:
            raise click.ClickException(f"cannot write {ca_file}: {error.strerror}") from error
    metrics = Metrics()
    draining: list[bool] = []
    mutate = Mutate(
        platform=settings.platform,
        namespaces=namespaces,
        metrics=metrics,
        write=decision_writer(form=settings["logFormat"]),
        body_limit=settings["bodyLimit"],
        draining=lambda: bool(draining),
    )
    problems = {
        "certificates": lambda: None,  # loaded above, or there is no server
        "namespaces": lambda: None,  # all given
        "shutdown": lambda: "shutting down" if draining else None,
    }
    server = create_server(
        create_app(mutate=mutate, metrics=metrics, problems=problems),
        context=context,
        host=host,
        port=settings["listenPort"],
        shutdown_delay=settings["shutdownDelay"],
        on_drain=lambda: draining.append(True),
    )
    server.run()
    if not server.started:
        raise click.ClickException(f"cannot listen on {host} port {settings['listenPort']}")


def _labelled(names: tuple[str, ...]) -> list[Namespace]:
    return [Namespace(name, {LABEL: "true"}, {}) for name in names]


def _from_file(file: Path | None) -> list[Namespace]:
    if file is None:
        return []
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"cannot read namespaces from {file}: {type(error).__name__}") from error
    namespaces = []
    for document in documents:
        for item in (document or {}).get("items", [document]) if isinstance(document, dict) else []:
            metadata = item.get("metadata") if isinstance(item, dict) else None
            if not isinstance(metadata, dict) or item.get("kind") != "Namespace" or not metadata.get("name"):
                raise click.ClickException(f"{file} holds something else than Namespaces with a name")
            namespaces.append(
                Namespace(metadata["name"], metadata.get("labels") or {}, metadata.get("annotations") or {})
            )
    return namespaces
