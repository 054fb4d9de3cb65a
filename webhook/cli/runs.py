"""`runs`: shows the MLflow runs of a pipeline run, a TrainJob, a pod or a namespace, and their status."""

from __future__ import annotations

import os
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import httpx

from webhook.cli.exit_codes import EPILOG, FOUND
from webhook.cli.reaching import reaching_options, read_what
from webhook.cli.runs_output import Printer, Style
from webhook.cli.terminal import printable
from webhook.cli.values import output_option
from webhook.cluster.kube import KubeClient, KubeError, KubeUnavailableError
from webhook.core.names import TRACKING_TOKEN, WORKSPACE
from webhook.core.values import parse_workspace
from webhook.doctor.forward import Reaching, UnreachableError
from webhook.doctor.pod import Subject
from webhook.doctor.report import NothingToCheckError
from webhook.network import ProxySettingsError, fault_of
from webhook.runs.causes import Cause, PodState, workspaces_disabled
from webhook.runs.search import Found, find_runs, may_change, orphans, server_causes
from webhook.runs.source import Source
from webhook.runs.tracking import RefusedError, Tracking
from webhook.settings.parsing import parse_mlflow_url

_PAUSE = 5.0
"""Seconds between two searches with --watch."""
_FAILURES = 12
"""How many searches in a row may fail with --watch."""


def _workspace(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return parse_workspace(value) if value else value
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from error


def _mlflow_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return parse_mlflow_url(value) if value else value
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from error


@click.command(epilog=f"{EPILOG} If there are no runs, the exit code is 3. docs/runs.md explains the output.")
@reaching_options(timeout=30)
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="Show the last value of this metric. Can be repeated."
)
@click.option("--plot", metavar="METRIC", help="Draw a curve of this metric for each run that has it.")
@click.option("--watch", is_flag=True, help="Refresh every 5 seconds, until all runs have ended.")
@click.option(
    "--workspace", metavar="NAME", callback=_workspace, help="Search this workspace instead of that of the namespace."
)
@click.option(
    "--mlflow-url",
    metavar="URL",
    callback=_mlflow_url,
    help="The URL for links to runs, if you may not read the setting mlflowUrl.",
)
@click.option(
    "--no-cluster",
    is_flag=True,
    help=f"Use only the server at --url, with the token in {TRACKING_TOKEN} and the workspace in {WORKSPACE}.",
)
@output_option
def runs(
    what: tuple[str, ...],
    namespace: str | None,
    url: str | None,
    verify: ssl.SSLContext,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    metrics: tuple[str, ...],
    plot: str | None,
    watch: bool,
    workspace: str | None,
    mlflow_url: str | None,
    no_cluster: bool,
    output: str,
) -> None:
    """Show the MLflow runs of a pipeline run, a TrainJob, a pod, or a whole namespace.

    Runs are found by their tags, also after the pods are deleted. The token of the namespace is sent to the server; it
    is never printed. Without an argument, the namespace of the context is shown.
    """
    subject, given = read_what(what, namespace)
    reaching = Reaching(url=url, timeout=timeout, verify=verify)
    if no_cluster and not url:
        raise click.UsageError("--no-cluster needs --url")
    try:
        if no_cluster:
            source = Source.of_environment(reaching, os.environ)
        else:
            client = KubeClient.from_environment(kubeconfig=kubeconfig, context=context)
            source = Source.of_cluster(client, reaching, given or client.namespace, subject)
        if workspace:
            source = source.in_workspace(workspace)
        template = source.settings.mlflow_url if mlflow_url is None and source.settings else mlflow_url or ""
        printer = Printer(Style(json=output == "json", metrics=metrics, plot=plot, template=template))
        with source.connect() as http:
            found = _look(http, source, subject, printer, plot=plot, watch=watch)
    except KubeError as error:
        raise click.ClickException(error.message) from error
    except (ProxySettingsError, NothingToCheckError) as error:
        raise click.ClickException(str(error)) from error
    if not found:
        sys.exit(FOUND)


def _look(
    http: httpx.Client, source: Source, subject: Subject | None, printer: Printer, *, plot: str | None, watch: bool
) -> bool:
    """Print the runs, once or until all have ended, or why no run was found. Returns whether there are runs."""
    target = source.target
    try:
        tracking = Tracking(http, target)
        if not tracking.has_workspaces():
            if target.workspace or not subject:
                printer.note(
                    "workspaces are not enabled on the server, so it does not separate the runs of namespaces."
                )
            tracking = tracking.moved(None)
        with printer.progress() as report:
            found = find_runs(tracking, subject, plot=plot, report=report)
        try:
            if watch:
                with printer.watching():
                    for now in _until_all_ended(found, tracking, source, subject, plot=plot):
                        found = now
                        printer.between(found)
        finally:
            printer.final(found)
        for run in orphans(found.rows, _states(source)):
            printer.note(f"{run.name} is {run.status} in MLflow, but its pod {run.pod} has ended.")
        if not found.rows:
            what = f"{subject.kind} {subject.name}" if subject else "any kind"
            where = f"in the workspace {tracking.workspace} of" if tracking.workspace else "at"
            printer.none(f"{what} {where} {target.uri}", list(_causes(tracking, source, subject)))
    except (RefusedError, httpx.RequestError, UnreachableError) as error:
        raise click.ClickException("\n".join(map(printable, _why(error, source)))) from error
    return bool(found.rows)


def _until_all_ended(
    found: Found, tracking: Tracking, source: Source, subject: Subject | None, *, plot: str | None
) -> Iterator[Found]:
    """Yield a result every few seconds, until all runs have ended and no pod can start another.

    A token that is refused is read again. Other failures are retried for a minute. Raises KubeError, and what
    `find_runs` does.
    """
    failures = 0
    while True:
        yield found
        try:
            if not may_change(found.rows, _states(source)):
                return
            time.sleep(_PAUSE)
            found = find_runs(tracking, subject, plot=plot)
            failures = 0
        except (RefusedError, httpx.RequestError, KubeUnavailableError) as error:
            failures += 1
            renewed = source.with_new_token() if isinstance(error, RefusedError) else None
            if renewed:
                source, tracking = renewed, tracking.with_token(renewed.target.token)
            elif failures > _FAILURES or (isinstance(error, RefusedError) and error.answer.status < 500):
                raise
            time.sleep(_PAUSE)


def _states(source: Source) -> list[PodState]:
    return source.surroundings.states() if source.surroundings else []


def _causes(tracking: Tracking, source: Source, subject: Subject | None) -> Iterator[Cause]:
    target = source.target
    if target.workspace and not tracking.workspace:
        yield workspaces_disabled(target.workspace)
    if subject is None:
        return
    if source.surroundings:
        yield from source.surroundings.causes(uri=source.tracking_uri)
    command = f"{click.get_current_context().command_path} {subject.kind} {subject.name}"
    if source.doctor:
        command += f" --namespace {target.namespace}"
    yield from server_causes(tracking, subject, command=command)


def _why(error: Exception, source: Source) -> Iterator[str]:
    """Yield the lines of an error: the doctor's checks that fail, or else the error itself."""
    findings = source.failures(now=datetime.now(UTC))
    for finding in findings:
        yield f"{finding.check}: {finding.message}"
        if finding.code:
            yield f"    {finding.code}; see docs/checks.md#{finding.check}"
        if finding.remedy:
            yield f"    do: {finding.remedy}"
    if not findings and isinstance(error, httpx.RequestError):
        yield fault_of(error).sentence(source.target.uri)
    elif not findings:
        yield f"the server's answer is unknown: {error}"
