"""`check`: the doctor, with the user's own kubeconfig."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import click

from webhook.cli.exit_codes import EPILOG, ERROR, FOUND
from webhook.cli.reaching import reaching_options, read_what
from webhook.cli.sections import print_json, print_text
from webhook.cli.values import Number, output_option
from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError
from webhook.doctor.findings import Section, Status
from webhook.doctor.forward import Reaching
from webhook.doctor.pod import Subject
from webhook.doctor.report import Doctor, NothingToCheckError
from webhook.network import ProxySettingsError

_PAUSE = 2.0
"""Seconds between two checks with --wait."""


@click.command(epilog=f"{EPILOG} Each check has a section in docs/checks.md.")
@reaching_options(timeout=5)
@click.option("--write", is_flag=True, help="Also write a run and a small artifact, and delete them again.")
@click.option(
    "--wait",
    type=Number("a number of seconds", 0, 3600),
    metavar="SECONDS",
    help="Retry until nothing fails, for at most this long.",
)
@output_option
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
    """Check the installation, a namespace, its tracking server, or the wiring of pods.

    Without an argument, the namespace of the context is checked. Checks that need rights you do not have are skipped,
    and the output says so.
    """
    subject, given = read_what(what, namespace)
    reaching = Reaching(url=url, timeout=timeout, verify=verify)
    try:
        client = KubeClient.from_environment(kubeconfig=kubeconfig, context=context)
        doctor = Doctor(client=client, reaching=reaching)
        where = given or client.namespace

        def look() -> list[Section]:
            if subject:
                return doctor.check_pods(where, subject)
            return doctor.check_namespace(where, write=write, now=datetime.now(UTC))

        sections = _until_nothing_fails(look, deadline=time.monotonic() + (wait or 0))
    except KubeError as error:
        raise click.ClickException(error.message) from error
    except ProxySettingsError as error:
        raise click.ClickException(str(error)) from error
    except NothingToCheckError as error:
        more = f".\n{_see_runs(subject, where)}" if subject else ""
        raise click.ClickException(f"{error}{more}") from error
    if output == "json":
        print_json(sections)
    else:
        print_text(sections)
        if subject:
            click.echo(_see_runs(subject, where))
    statuses = {finding.status for section in sections for finding in section.findings}
    if Status.FAILED in statuses:
        sys.exit(FOUND)
    if statuses <= {Status.SKIPPED}:
        sys.exit(ERROR)


def _see_runs(subject: Subject, namespace: str) -> str:
    program = click.get_current_context().find_root().info_name
    return f"To see its MLflow runs: {program} runs {subject.kind} {subject.name} --namespace {namespace}"


def _until_nothing_fails(look: Callable[[], list[Section]], *, deadline: float) -> list[Section]:
    """Run the checks until nothing fails or the deadline has passed, at least once. Raises the last error."""
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
