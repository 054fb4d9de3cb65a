"""The options that `inject` and `explain` share: documents, the configuration, and what a cluster would add."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from webhook.cli.values import valid_namespace
from webhook.core.configuration import Namespace, Platform
from webhook.files.documents import DocumentError, NoPodError, PodInDocument, find_pods, load_documents
from webhook.settings import SettingsError, load_settings

F = TypeVar("F", bound=Callable[..., Any])


class Inputs(NamedTuple):
    """What to decide about, and with what."""

    documents: list[dict[str, Any]]
    pods: list[PodInDocument]
    platform: Platform
    namespace_name: str | None
    labels: dict[str, str]
    annotations: dict[str, str]

    def namespace_of(self, pod: PodInDocument) -> Namespace:
        """Give the namespace of a pod: the one on the command line, else its document's, else `default`."""
        return Namespace(self.namespace_name or pod.namespace or "default", self.labels, self.annotations)


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value or value.startswith("="):
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE", ctx, param)
    return dict(value.split("=", 1) for value in values)


def inputs_options(command: F) -> F:
    """Give a command the options from which `read_inputs` makes its inputs."""
    options = (
        click.option(
            "-f",
            "--filename",
            "filenames",
            required=True,
            multiple=True,
            metavar="FILE",
            help="YAML or JSON with pods, objects with a pod template, or AdmissionReviews. -: standard input. May be "
            "given several times.",
        ),
        click.option(
            "-n",
            "--namespace",
            "namespace_name",
            metavar="NAME",
            callback=valid_namespace,
            help="The namespace the pods are made in.",
        ),
        click.option(
            "--namespace-label",
            "labels",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_pairs,
            help="A label of that namespace, such as mlflow-enabled=true.",
        ),
        click.option(
            "--namespace-annotation",
            "annotations",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_pairs,
            help="An annotation of that namespace.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The webhook's configuration file.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def read_inputs(
    *,
    filenames: tuple[str, ...],
    namespace_name: str | None,
    labels: dict[str, str],
    annotations: dict[str, str],
    config: Path | None,
) -> Inputs:
    """Read everything. Raises click's exceptions, with a sentence for the person at the terminal."""
    try:
        platform = load_settings(file=config, environment=os.environ).platform
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    documents, pods, without = [], [], []
    for filename in filenames:
        place = _place(filename)
        try:
            read = load_documents(_read(filename))
            found, others = _find(read)
        except DocumentError as error:
            raise click.ClickException(f"{place}: {error}") from error
        if not found:
            raise click.ClickException(f"{place}: {others[0] if others else 'there is no pod in the list'}")
        documents += read
        pods += found
        without += others
    for other in without:
        click.echo(f"{other.what}: no pod template; left as it is", err=True)
    return Inputs(documents, pods, platform, namespace_name, labels, annotations)


def _find(documents: list[dict[str, Any]]) -> tuple[list[PodInDocument], list[NoPodError]]:
    """Give all pods, and what holds none: manifests hold Services and more beside them."""
    pods, without = [], []
    for document in documents:
        try:
            pods += find_pods(document)
        except NoPodError as error:
            without.append(error)
    return pods, without


def _read(filename: str) -> str:
    try:
        content = sys.stdin.buffer.read() if filename == "-" else Path(filename).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise click.ClickException(f"cannot read {filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        hint = ", but UTF-16: convert it" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else ""
        raise click.ClickException(f"{_place(filename)} is not UTF-8{hint}") from error


def _place(filename: str) -> str:
    return "standard input" if filename == "-" else filename
