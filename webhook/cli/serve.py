"""`serve`: the admission webhook itself."""

from __future__ import annotations

import os
from pathlib import Path

import click

from webhook.cli.values import LocalPath, valid_namespace
from webhook.cluster.kube import KubeClient, KubeConfigError
from webhook.cluster.namespaces import StaticNamespaces
from webhook.core.configuration import Namespace
from webhook.core.names import LABEL
from webhook.files.loading import DocumentError, load
from webhook.files.objects import find_namespaces
from webhook.serving.assembly import StartError, run_in_cluster, run_standalone
from webhook.serving.logs import configure_logging
from webhook.settings import ENV_HELP, SETTINGS, SettingsError, load_settings


class _Serve(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(s.name, f"{s.help} [{s.variable}; default: {s.default or 'none'}]") for s in SETTINGS]
        with formatter.section("Settings, in the file or in the environment, which overrides the file"):
            formatter.write_dl([*rows, ("env", ENV_HELP)])


@click.command(cls=_Serve)
@click.option("--config", type=LocalPath(dir_okay=False, path_type=Path), help="The configuration file (YAML).")
@click.option(
    "--standalone", is_flag=True, help="Run without a cluster, with a self-made certificate and fixed namespaces."
)
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig file, if the webhook does not run in the cluster.")
@click.option("--context", metavar="NAME", help="The context of the kubeconfig.")
@click.option("--host", metavar="ADDRESS", help="Set listenAddress.  [standalone: 127.0.0.1]")
@click.option("--port", metavar="NUMBER", help="Set listenPort.")
@click.option(
    "--namespace",
    "names",
    multiple=True,
    metavar="NAME",
    callback=valid_namespace,
    help=f"Standalone: a namespace labelled {LABEL}=true.",
)
@click.option(
    "--namespaces",
    "namespaces_file",
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    help="Standalone: a file of Namespaces, as `kubectl get namespaces -o yaml` writes it.",
)
@click.option(
    "--ca-file",
    type=LocalPath(dir_okay=False, path_type=Path),
    help="Standalone: the file to which the CA is written. Clients verify the certificate with it.",
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
    only = {"--namespace": names, "--namespaces": namespaces_file, "--ca-file": ca_file}
    never = {"--kubeconfig": kubeconfig, "--context": context}
    if given := ", ".join(name for name, value in (never if standalone else only).items() if value):
        why = "not allowed with --standalone" if standalone else "allowed only with --standalone"
        raise click.UsageError(f"{given}: {why}")
    overrides = {"listenAddress": host or ("127.0.0.1" if standalone else None), "listenPort": port}
    try:
        settings = load_settings(
            file=config,
            environment=os.environ,
            overrides={name: value for name, value in overrides.items() if value is not None},
        )
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    if standalone and settings.certificates == "files":
        raise click.ClickException(
            "certificates: files cannot be used with --standalone, which makes its own certificate"
        )
    configure_logging(form=settings.log_format, level=settings.log_level)
    try:
        if standalone:
            namespaces = StaticNamespaces([*_labelled(names), *_from_file(namespaces_file)])
            run_standalone(settings, namespaces, ca_file=ca_file)
        else:
            run_in_cluster(settings, KubeClient.from_environment(kubeconfig=kubeconfig, context=context))
    except (StartError, KubeConfigError) as error:
        raise click.ClickException(str(error)) from error


def _labelled(names: tuple[str, ...]) -> list[Namespace]:
    return [Namespace(name, {LABEL: "true"}, {}) for name in names]


def _from_file(file: Path | None) -> list[Namespace]:
    if file is None:
        return []
    try:
        return find_namespaces([loaded.value for loaded in load(file.read_text(encoding="utf-8-sig"))])
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.ClickException(f"cannot read {file}: {reason}") from error
    except DocumentError as error:
        raise click.ClickException(f"{file}: {error}") from error
