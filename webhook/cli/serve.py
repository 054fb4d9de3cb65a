"""`serve`: the admission webhook itself."""

from __future__ import annotations

import os
from pathlib import Path

import click
import yaml

from webhook.assembly import ListenError, run_in_cluster, run_standalone
from webhook.core.configuration import Namespace
from webhook.core.names import LABEL
from webhook.kube import KubeClient, KubeConfigError
from webhook.logs import configure_logging
from webhook.namespaces import StaticNamespaces
from webhook.settings import ENV_HELP, SETTINGS, SettingsError, load_settings


class _Serve(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(s.name, f"{s.help} [{s.variable}; default: {s.default or 'none'}]") for s in SETTINGS]
        with formatter.section("Settings, in the file or (before it) in the environment"):
            formatter.write_dl([*rows, ("env", ENV_HELP)])


@click.command(cls=_Serve)
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file (YAML).")
@click.option("--standalone", is_flag=True, help="Need no cluster: own certificate, namespaces from the options below.")
@click.option("--kubeconfig", metavar="FILE", help="The cluster, when not run in one.")
@click.option("--context", metavar="NAME", help="The context of the kubeconfig.")
@click.option("--host", metavar="ADDRESS", help="Set listenAddress.  [standalone: 127.0.0.1]")
@click.option("--port", metavar="NUMBER", help="Set listenPort.")
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
    kubeconfig: str | None,
    context: str | None,
    host: str | None,
    port: str | None,
    names: tuple[str, ...],
    namespaces_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Serve admission reviews over HTTPS: POST /mutate, and GET /healthz, /readyz, /metrics."""
    misplaced = {"--namespace": names, "--namespaces": namespaces_file, "--ca-file": ca_file}
    if not standalone and any(misplaced.values()):
        given = ", ".join(name for name, value in misplaced.items() if value)
        raise click.UsageError(f"{given}: only with --standalone; in a cluster the cluster says it")
    overrides = {"listenAddress": host or ("127.0.0.1" if standalone else None), "listenPort": port}
    try:
        settings = load_settings(
            file=config,
            environment=os.environ,
            overrides={name: value for name, value in overrides.items() if value is not None},
        )
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    configure_logging(form=settings["logFormat"], level=settings["logLevel"])
    try:
        if standalone:
            namespaces = StaticNamespaces([*_labelled(names), *_from_file(namespaces_file)])
            run_standalone(settings, namespaces, ca_file=ca_file)
        else:
            run_in_cluster(settings, KubeClient.from_environment(kubeconfig=kubeconfig, context=context))
    except (ListenError, KubeConfigError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {ca_file}: {error.strerror}") from error


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
    if not namespaces:
        raise click.ClickException(f"{file} holds no Namespace")
    return namespaces
