"""`runs`: which MLflow runs belong to a pipeline run, a TrainJob, a pod or a namespace, and how they are doing."""

from __future__ import annotations

import os
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import click
import httpx

from webhook.cli.exit_codes import EPILOG, FOUND
from webhook.cli.reaching import reaching_options, read_what
from webhook.cli.runs_output import Printer, Style
from webhook.cluster.kube import KubeClient, KubeError
from webhook.core.configuration import Platform, parse_workspace
from webhook.core.names import TRACKING_TOKEN, WORKSPACE
from webhook.doctor.findings import Finding
from webhook.doctor.forward import Reaching, UnreachableError
from webhook.doctor.pod import Subject, settings_of
from webhook.doctor.probe import Target
from webhook.doctor.report import Doctor, NothingToCheckError
from webhook.network import ProxySettingsError, fault_of, open_client
from webhook.runs.causes import Cause, workspaces_disabled
from webhook.runs.failure import failed_checks
from webhook.runs.search import Found, Surroundings, find_runs, server_causes
from webhook.runs.tracking import RefusedError, Tracking
from webhook.settings import Settings
from webhook.settings.parsing import parse_mlflow_url

_PAUSE = 5.0
"""Seconds between two looks with --watch."""
_FAILURES = 12
"""How many looks in a row may fail with --watch."""


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


@click.command(epilog=f"{EPILOG} Without runs it is 3. docs/runs.md has the reasons for that, and the keys of -o json.")
@reaching_options(timeout=30)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Show this metric's last value; repeatable.")
@click.option("--plot", metavar="METRIC", help="Draw the curve of this metric for each run that has it.")
@click.option("--watch", is_flag=True, help="Look again every 5 seconds, until all runs have ended.")
@click.option(
    "--workspace", metavar="NAME", callback=_workspace, help="Look in this workspace instead of the namespace's own."
)
@click.option(
    "--mlflow-url",
    metavar="URL",
    callback=_mlflow_url,
    help="Where people open MLflow in a browser, if you may not read the setting mlflowUrl.",
)
@click.option(
    "--no-cluster",
    is_flag=True,
    help=f"Ask only the server at --url, with the token in {TRACKING_TOKEN} and the workspace in {WORKSPACE}, if set.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
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

    Runs are found by their tags, so the pods may be gone. The namespace's own token is used; it is never printed.
    Without an argument, the namespace of the context is taken.
    """
    subject, given = read_what(what, namespace)
    reaching = Reaching(url=url, timeout=timeout, verify=verify)
    if no_cluster and not url:
        raise click.UsageError("--no-cluster needs --url")
    try:
        if no_cluster:
            source = _source_of_environment(reaching, given)
        else:
            client = KubeClient.from_environment(kubeconfig=kubeconfig, context=context)
            source = _source_of_cluster(client, reaching, given or client.namespace, subject)
        if workspace:
            source = replace(source, target=replace(source.target, workspace=workspace))
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


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where to look: the server, with a token, and the cluster around it, if there is one.

    `tracking_uri`: the address that pods are given, which may be another one than the target's.
    """

    target: Target
    tracking_uri: str
    reaching: Reaching
    doctor: Doctor | None = None
    secret: Finding | None = None
    settings: Settings | None = None
    surroundings: Surroundings | None = None

    @contextmanager
    def connect(self) -> Iterator[httpx.Client]:
        if self.doctor:
            with self.doctor.connect(self.target) as http:
                yield http
        else:
            with open_client(timeout=self.reaching.timeout, verify=self.reaching.verify) as http:
                yield http


def _source_of_cluster(client: KubeClient, reaching: Reaching, name: str, subject: Subject | None) -> _Source:
    doctor = Doctor(client=client, reaching=reaching)
    settings = settings_of(client)
    access = doctor.access(name, doctor.read_namespace(name), settings.platform if settings else Platform())
    return _Source(
        target=access.target,
        tracking_uri=access.tracking_uri,
        reaching=reaching,
        doctor=doctor,
        secret=access.secret,
        settings=settings,
        surroundings=Surroundings(client, name, subject) if subject else None,
    )


def _source_of_environment(reaching: Reaching, name: str | None) -> _Source:
    target = Target(
        uri=reaching.url or "",
        workspace=os.environ.get(WORKSPACE) or None,
        token=os.environ.get(TRACKING_TOKEN) or None,
        namespace=name or "NAMESPACE",
    )
    return _Source(target=target, tracking_uri=target.uri, reaching=reaching)


def _look(
    http: httpx.Client, source: _Source, subject: Subject | None, printer: Printer, *, plot: str | None, watch: bool
) -> bool:
    """Print the runs there are, once or until all have ended, or why there are none. Returns whether there are runs."""
    target = source.target
    try:
        tracking = Tracking(http, target)
        if not tracking.has_workspaces():
            if target.workspace or not subject:
                printer.note("the server has no workspaces, so it does not separate the runs of namespaces.")
            tracking = tracking.moved(None)
        with printer.progress() as on_page:
            found = find_runs(tracking, subject, plot=plot, on_page=on_page)
        if watch:
            with printer.watching():
                for now in _until_all_ended(found, tracking, source, subject, plot=plot):
                    found = now
                    printer.between(found)
        printer.final(found)
        if not found.rows:
            what = f"{subject.kind} {subject.name}" if subject else "any kind"
            where = f"in the workspace {tracking.workspace} of" if tracking.workspace else "at"
            printer.none(f"{what} {where} {target.uri}", list(_causes(tracking, source, subject)))
    except (RefusedError, httpx.RequestError, UnreachableError) as error:
        raise click.ClickException(_why(error, http, source)) from error
    return bool(found.rows)


def _until_all_ended(
    found: Found, tracking: Tracking, source: _Source, subject: Subject | None, *, plot: str | None
) -> Iterator[Found]:
    """Yield what is found, again and again until no run and no pod of the subject is active.

    A connection that fails is tried again for a minute. Raises what `find_runs` does.
    """
    failures = 0
    while True:
        yield found
        if all(row.run.is_over for row in found.rows) and not _has_active_pods(source):
            return
        time.sleep(_PAUSE)
        try:
            found = find_runs(tracking, subject, plot=plot, on_page=lambda _: None)
            failures = 0
        except httpx.RequestError:
            failures += 1
            if failures > _FAILURES:
                raise


def _has_active_pods(source: _Source) -> bool:
    return source.surroundings is not None and source.surroundings.has_active_pods()


def _causes(tracking: Tracking, source: _Source, subject: Subject | None) -> Iterator[Cause]:
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


def _why(error: Exception, http: httpx.Client, source: _Source) -> str:
    """Return why the server could not be searched: in the doctor's words, if it knows some."""
    try:
        findings = failed_checks(http, source.target, now=datetime.now(UTC), secret=source.secret)
    except UnreachableError as unreachable:
        return (
            f"{source.target.uri} cannot be reached from here: {unreachable}. Give --url, or call this in the cluster"
        )
    if findings:
        return "\n".join(_words(finding) for finding in findings)
    if isinstance(error, httpx.RequestError):
        return fault_of(error).sentence(source.target.uri)
    return f"the server's answer was not expected: {error}"


def _words(finding: Finding) -> str:
    lines = [f"{finding.check}: {finding.message}"]
    if finding.code:
        lines.append(f"    {finding.code}; see docs/checks.md#{finding.check}")
    if finding.remedy:
        lines.append(f"    do: {finding.remedy}")
    return "\n".join(lines)
