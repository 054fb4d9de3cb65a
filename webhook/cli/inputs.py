"""The options that `inject` and `explain` share: documents, the configuration, and what a cluster would add."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from webhook.cli.values import LocalPath, valid_namespace
from webhook.core.configuration import Namespace, Platform, configure
from webhook.core.decision import decide
from webhook.core.pod import Pod
from webhook.files.documents import find
from webhook.files.found import Found, PodInDocument
from webhook.files.loading import DocumentError, Loaded, load
from webhook.settings import SettingsError, load_settings

_UTF_16 = {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
"""What Windows PowerShell writes at the beginning of a file; kubectl reads it too."""

F = TypeVar("F", bound=Callable[..., Any])


class File(NamedTuple):
    """A file that was read, and the objects in it."""

    place: str
    text: str
    loaded: list[Loaded]


class Inputs(NamedTuple):
    """The pods to decide about, and the settings and namespaces for the decision."""

    files: list[File]
    found: Found
    platform: Platform
    namespace_name: str | None
    labels: dict[str, str]
    annotations: dict[str, str]

    def namespace_of(self, pod: PodInDocument) -> Namespace:
        """Return the namespace of a pod: the one on the command line, else its document's, else `default`.

        Labels and annotations on the command line override those of a Namespace in the files.
        """
        name = self.namespace_name or pod.namespace or "default"
        known = self.found.namespaces.get(name)
        labels, annotations = (known.labels, known.annotations) if known else ({}, {})
        return Namespace(name, {**labels, **self.labels}, {**annotations, **self.annotations})

    def shown_namespace_of(self, pod: PodInDocument) -> str | None:
        """Return the name of a pod's namespace, None if it is that of each TrainJob."""
        return self.namespace_of(pod).name if self.namespace_name or pod.in_namespace else None


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value or value.startswith("="):
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE", ctx, param)
    return dict(value.split("=", 1) for value in values)


def inputs_options(command: F) -> F:
    """Add to a command the options that `read_inputs` takes."""
    options = (
        click.option(
            "-f",
            "--filename",
            "filenames",
            required=True,
            multiple=True,
            metavar="FILE",
            help="YAML or JSON with pods, objects with a pod template, TrainJobs with their runtimes, compiled "
            "pipelines, or AdmissionReviews. -: standard input. Can be repeated.",
        ),
        click.option(
            "-n",
            "--namespace",
            "namespace_name",
            metavar="NAME",
            callback=valid_namespace,
            help="The namespace of the pods.  [default: the document's, or default]",
        ),
        click.option(
            "--namespace-label",
            "labels",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_pairs,
            help="A label of that namespace, such as mlflow-enabled=true. Overrides a Namespace in the files.",
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
            type=LocalPath(dir_okay=False, path_type=Path),
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
    files = [_read(filename) for filename in filenames]
    return Inputs(files, _find(files), platform, namespace_name, labels, annotations)


def report_passed_over(inputs: Inputs, *, all_of_them: bool) -> None:
    """Write to standard error which objects have no pods, and why.

    Without `all_of_them`, leave out those that are explained. For each Namespace without pods in the files, also write
    what is wrong with its label and annotations.
    """
    used = {inputs.namespace_of(pod).name for pod in inputs.found.pods}
    for name, namespace in inputs.found.namespaces.items():
        if name not in used:
            click.echo(f"Namespace {name}: contains none of the pods. To change this, use --namespace {name}", err=True)
            label = decide(Pod(), namespace=namespace, platform=inputs.platform).warnings
            for warning in (*label, *configure(inputs.platform, namespace, {}).warnings):
                click.echo(f"Namespace {name}: warning: {warning}", err=True)
    for other in inputs.found.passed_over:
        if all_of_them or not other.explained:
            click.echo(f"{other.what}: {other.why}; not changed", err=True)
            for warning in other.warnings:
                click.echo(f"{other.what}: warning: {warning}", err=True)


def _find(files: list[File]) -> Found:
    try:
        return find([loaded.value for file in files for loaded in file.loaded])
    except DocumentError as error:
        place = next((file.place for file in files if _is_malformed(file)), files[0].place)
        raise click.ClickException(f"{place}: {error}") from error


def _is_malformed(file: File) -> bool:
    try:
        find([loaded.value for loaded in file.loaded])
    except DocumentError:
        return True
    return False


def _read(filename: str) -> File:
    place = "standard input" if filename == "-" else filename
    try:
        content = sys.stdin.buffer.read() if filename == "-" else Path(filename).read_bytes()
        text = content.decode("utf-16" if content[:2] in _UTF_16 else "utf-8-sig")
        return File(place, text, load(text))
    except OSError as error:
        raise click.ClickException(f"cannot read {filename}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{place} is neither UTF-8 nor UTF-16 with a byte order mark") from error
    except DocumentError as error:
        raise click.ClickException(f"{place}: {error}") from error
