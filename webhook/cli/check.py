"""`check`: the doctor, with the user's own kubeconfig."""

from __future__ import annotations

import re
import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import click

from webhook.cli.exit_codes import EPILOG, ERROR, FOUND
from webhook.cli.sections import print_json, print_text
from webhook.cli.values import valid_namespace
from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError
from webhook.core.configuration import parse_tracking_uri
from webhook.doctor.findings import Section, Status
from webhook.doctor.forward import Reaching
from webhook.doctor.pod import Subject
from webhook.doctor.report import Doctor, NothingToCheckError
from webhook.network import ProxySettingsError

_KINDS = ("pod", "trainjob", "run")
_PAUSE = 2.0
"""Seconds between two looks with --wait."""

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")
"""Valid names of objects and values of labels. They go into a path or a selector."""


def _what(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Check that a single word is a valid namespace; `_subject` checks the rest."""
    return valid_namespace(context, parameter, value) if len(value) == 1 and value[0] not in _KINDS else value


def _url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return parse_tracking_uri(value) if value else None
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from error


def _trust(_context: click.Context, _parameter: click.Parameter, value: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=value)
    except (ssl.SSLError, OSError):
        raise click.BadParameter(f"{value} holds no certificates in PEM form") from None


@click.command(epilog=f"{EPILOG} Each check has a section in docs/checks.md.")
@click.argument("what", nargs=-1, callback=_what, metavar="[NAMESPACE | pod NAME | trainjob NAME | run ID]")
@click.option(
    "-n", "--namespace", metavar="NAME", callback=valid_namespace, help="The namespace of the pod, TrainJob or run."
)
@click.option(
    "--url",
    metavar="URL",
    callback=_url,
    help="Reach the tracking server at this address instead of by a port-forward.",
)
@click.option(
    "--ca-file",
    "verify",
    type=click.Path(exists=True, dir_okay=False),
    callback=_trust,
    metavar="FILE",
    help="The CA of the server's certificate and Dex's, if it is not one of the system's.",
)
@click.option("--write", is_flag=True, help="Also write a run and a small artifact, and delete them again.")
@click.option(
    "--wait", type=click.FloatRange(0, 3600), metavar="SECONDS", help="Retry for so long until nothing fails."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="The time-out of each request.",
)
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig, if it is not the usual one.")
@click.option("--context", metavar="NAME", help="The context of the kubeconfig.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(
    what: tuple[str, ...],
    namespace: str | None,
    url: str | None,
    verify: ssl.SSLContext,
    write: bool,
    wait: float | None,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Find out what is wrong with the installation, a namespace, its tracking server, or a pod's wiring.

    Without an argument, the namespace of the context is checked. What you may not read is skipped; the output says so.
    """
    subject = _subject(what)
    if namespace and len(what) == 1 and what[0] != namespace:
        raise click.UsageError(f"two namespaces: {what[0]} and --namespace {namespace}; give one")
    reaching = Reaching(url=url, timeout=timeout, verify=verify)
    try:
        client = KubeClient.from_environment(kubeconfig=kubeconfig, context=context)
        doctor = Doctor(client=client, reaching=reaching)
        where = namespace or (what[0] if len(what) == 1 else client.namespace)

        def look() -> list[Section]:
            if subject:
                return doctor.check_pods(where, subject)
            return doctor.check_namespace(where, write=write, now=datetime.now(UTC))

        sections = _until_nothing_fails(look, deadline=time.monotonic() + (wait or 0))
    except KubeError as error:
        raise click.ClickException(error.message) from error
    except (ProxySettingsError, NothingToCheckError) as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        print_json(sections)
    else:
        print_text(sections)
    statuses = {finding.status for section in sections for finding in section.findings}
    if Status.FAILED in statuses:
        sys.exit(FOUND)
    if statuses <= {Status.SKIPPED}:
        sys.exit(ERROR)


def _until_nothing_fails(look: Callable[[], list[Section]], *, deadline: float) -> list[Section]:
    """Look until nothing fails or the deadline has passed, at least once. Raises what the last look raised."""
    while True:
        late = time.monotonic() >= deadline
        try:
            found = look()
        except (KubeError, NothingToCheckError) as error:  # the API server is away, or there are no pods yet
            if late or isinstance(error, KubeForbiddenError):
                raise
        else:
            if late or not _fails(found):
                return found
        time.sleep(_PAUSE)


def _fails(sections: list[Section]) -> bool:
    return any(finding.status is Status.FAILED for section in sections for finding in section.findings)


def _subject(what: tuple[str, ...]) -> Subject | None:
    if len(what) == 1 and what[0] in _KINDS:
        raise click.UsageError(f"{what[0]} needs a name; to check a namespace of that name, give --namespace {what[0]}")
    if len(what) < 2:
        return None
    if len(what) > 2 or what[0] not in _KINDS:
        raise click.UsageError(f"expected a namespace, or one of {', '.join(_KINDS)} with a name")
    if not _NAME.fullmatch(what[1]):
        raise click.UsageError(f"{what[1]!r} is not a valid name of a {what[0]}")
    return Subject(*what)
