"""Calls the command as a user would."""

from __future__ import annotations

from typing import Any

import yaml
from click.testing import CliRunner, Result

from webhook.cli import cli

LABELLED = ["--namespace-label", "mlflow-enabled=true"]


def call(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(arguments), input=text)


def on(command: str, document: Any, *arguments: str) -> Result:
    return call(command, "-f", "-", *arguments, text=yaml.safe_dump(document))
