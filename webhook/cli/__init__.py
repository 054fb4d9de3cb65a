"""The command `mlflow-webhook`, also `kubectl mlflow`. A command's module is imported when the command is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import PurePath

import click

from webhook import __version__

_COMMANDS = {
    "serve": "Serve admission reviews over HTTPS.",
    "inject": "Show pods as the webhook would wire them.",
    "explain": "Show whether pods are wired, why, and with what.",
    "check": "Check the installation, a namespace, its tracking server, or the wiring of pods.",
    "runs": "Show the MLflow runs of a pipeline run, a TrainJob, a pod or a namespace.",
    "token": "Mint, refresh and show the token for MLflow.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"webhook.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlflow-webhook")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Wire Kubeflow pods to an MLflow tracking server."""
    if os.environ.get("NO_COLOR"):  # rich follows it (https://no-color.org), click does not
        ctx.color = False


def main() -> None:
    """Run the command line."""
    plugin = PurePath(sys.argv[0]).name.startswith("kubectl-")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # UTF-8 in every locale, as kubectl prints
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
    try:
        cli(prog_name="kubectl mlflow" if plugin else "mlflow-webhook")
    except OSError as error:  # such as a full disk behind standard output; click handles a closed pipe itself
        sys.stdout = None  # otherwise its flush at the end fails again
        sys.exit(f"Error: {error}")
