"""The arguments and options of the commands that look at a cluster and its tracking server."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import click

from webhook.cli.values import LocalPath, Number, trust, valid_namespace
from webhook.core.values import parse_tracking_uri
from webhook.doctor.pod import Subject

F = TypeVar("F", bound=Callable[..., Any])

_KINDS = ("pod", "trainjob", "run")

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")
"""Valid names of objects and values of labels. They go into a path or a selector."""


def reaching_options(*, timeout: float) -> Callable[[F], F]:
    """Add the argument `what` and the options that say how to reach the cluster and the server.

    `timeout` is the default of --timeout, in seconds.
    """
    parameters = (
        click.argument("what", nargs=-1, callback=_what, metavar="[NAMESPACE | pod NAME | trainjob NAME | run ID]"),
        click.option(
            "-n",
            "--namespace",
            metavar="NAME",
            callback=valid_namespace,
            help="The namespace of the pod, TrainJob or run.",
        ),
        click.option(
            "--url",
            metavar="URL",
            callback=_url,
            help="The URL of the tracking server, to use instead of a port-forward.",
        ),
        click.option(
            "--ca-file",
            "verify",
            type=LocalPath(exists=True, dir_okay=False),
            callback=_trust,
            metavar="FILE",
            help="The CA of the server's and Dex's certificates, if the system does not trust it.",
        ),
        click.option(
            "--timeout",
            type=Number("a number of seconds", 0.1, 60),
            default=timeout,
            show_default=True,
            metavar="SECONDS",
            help="The timeout of each request.",
        ),
        click.option(
            "--kubeconfig", metavar="FILE", help="The kubeconfig file.  [default: KUBECONFIG, or ~/.kube/config]"
        ),
        click.option("--context", metavar="NAME", help="The context of the kubeconfig."),
    )

    def add(command: F) -> F:
        for parameter in reversed(parameters):
            command = parameter(command)
        return command

    return add


def read_what(what: tuple[str, ...], namespace: str | None) -> tuple[Subject | None, str | None]:
    """Return what to check, if it is not a whole namespace, and the namespace, if one was given. Raises UsageError."""
    subject = _subject(what)
    if namespace and len(what) == 1 and what[0] != namespace:
        raise click.UsageError(f"two namespaces: {what[0]} and --namespace {namespace}; give one")
    return subject, namespace or (what[0] if len(what) == 1 else None)


def _what(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Check that a single word is a valid namespace; `_subject` checks the rest."""
    return valid_namespace(context, parameter, value) if len(value) == 1 and value[0] not in _KINDS else value


def _url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return parse_tracking_uri(value) if value else None
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from error


def _trust(_context: click.Context, _parameter: click.Parameter, value: str | None) -> ssl.SSLContext:
    return trust(value)


def _subject(what: tuple[str, ...]) -> Subject | None:
    if len(what) == 1 and what[0] in _KINDS:
        raise click.UsageError(f"{what[0]} needs a name; for a namespace of that name, give --namespace {what[0]}")
    if len(what) < 2:
        return None
    if len(what) > 2 or what[0] not in _KINDS:
        raise click.UsageError(f"expected a namespace, or one of {', '.join(_KINDS)} with a name")
    if not _NAME.fullmatch(what[1]):
        raise click.UsageError(f"{what[1]!r} is not a valid name of a {what[0]}")
    return Subject(*what)
