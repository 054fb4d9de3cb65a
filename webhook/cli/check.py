"""`check`: the doctor, with the user's own kubeconfig."""

from __future__ import annotations

import json
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

import click
from rich.console import Console
from rich.markup import escape

from webhook.cli.values import valid_namespace
from webhook.cluster.kube import KubeClient, KubeError, KubeForbiddenError, KubeNotFoundError
from webhook.core.configuration import Namespace, Platform, parse_tracking_uri
from webhook.doctor.env_from import check_env_from
from webhook.doctor.findings import Finding, Status, failed, skipped
from webhook.doctor.forward import Reaching, UnreachableError
from webhook.doctor.installation import check_installation, sample_pod
from webhook.doctor.namespace import (
    ANNOTATIONS,
    GOOD,
    LABELLED,
    SECRET,
    WORKSPACE,
    Wiring,
    check_namespace,
    check_token,
    expected_wiring,
    read_token,
    wiring_of,
)
from webhook.doctor.pod import WIRING, Subject, check_pod, find_pods, platform_of
from webhook.doctor.probe import Target
from webhook.doctor.server import REACHABLE, check_server
from webhook.network import ProxySettingsError, open_client
from webhook.token.claims import NotATokenError, read_claims

FAILED = 1
_MARKS = {Status.PASSED: "[green]√[/]", Status.WARNED: "[yellow]‼[/]", Status.FAILED: "[red]×[/]", Status.SKIPPED: "-"}
_KINDS = ("pod", "trainjob", "run")

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")
"""What can be a name or a label's value: it goes into a path or a selector."""

Section = tuple[str, list[Finding]]


def _what(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Check a namespace; `_subject` checks the rest."""
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


@click.command(
    epilog="Exit codes: 0 nothing failed, 1 a check failed, 2 a wrong call. Each check has a section in docs/checks.md."
)
@click.argument("what", nargs=-1, callback=_what, metavar="[NAMESPACE | pod NAME | trainjob NAME | run ID]")
@click.option(
    "-n", "--namespace", metavar="NAME", callback=valid_namespace, help="The namespace of the pod, TrainJob or run."
)
@click.option("--url", metavar="URL", callback=_url, help="Reach the tracking server here, in place of a port-forward.")
@click.option(
    "--ca-file",
    "verify",
    type=click.Path(exists=True, dir_okay=False),
    callback=_trust,
    metavar="FILE",
    help="The CA that verifies the server's certificate and Dex's, if not one of the system's.",
)
@click.option("--write", is_flag=True, help="Also write a run and a small artifact, and delete them.")
@click.option("--wait", type=click.FloatRange(0, 3600), metavar="SECONDS", help="Try again until nothing fails.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="For each request.",
)
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig, if not the usual one.")
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

    Without an argument the namespace is the context's. What you may not read is skipped, and said to be.
    """
    run = _subject(what)
    if namespace and len(what) == 1 and what[0] != namespace:
        raise click.UsageError(f"two namespaces: {what[0]} and --namespace {namespace}; name one")
    reaching = Reaching(url=url, timeout=timeout, verify=verify)
    try:
        client = KubeClient.from_environment(kubeconfig=kubeconfig, context=context)
        where = namespace or (what[0] if len(what) == 1 else client.namespace)
        found = _until_nothing_fails(
            lambda: _pods(client, where, run) if run else _all(client, where, write=write, reaching=reaching),
            deadline=time.monotonic() + (wait or 0),
        )
    except KubeError as error:
        raise click.ClickException(error.message) from error
    except ProxySettingsError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(
            json.dumps({name: [finding.to_dict() for finding in findings] for name, findings in found}, indent=2)
        )
    else:
        print_sections(found)
    if _fails(found):
        sys.exit(FAILED)


def _until_nothing_fails(look: Callable[[], list[Section]], *, deadline: float) -> list[Section]:
    """Look again and again, at least once; gives what was found last. Raises what the last look did."""
    while True:
        late = time.monotonic() >= deadline
        try:
            found = look()
        except (KubeError, click.ClickException) as error:  # the API server is away, or there are no pods yet
            if late or isinstance(error, KubeForbiddenError):
                raise
        else:
            if late or not _fails(found):
                return found
        time.sleep(2)


def _fails(found: list[Section]) -> bool:
    return any(finding.status is Status.FAILED for _, findings in found for finding in findings)


def _subject(what: tuple[str, ...]) -> Subject | None:
    if len(what) == 1 and what[0] in _KINDS:
        raise click.UsageError(f"{what[0]} needs a name; for a namespace of that name give --namespace {what[0]}")
    if len(what) < 2:
        return None
    if len(what) > 2 or what[0] not in _KINDS:
        raise click.UsageError(f"expected a namespace, or one of {', '.join(_KINDS)} with a name")
    if not _NAME.fullmatch(what[1]):
        raise click.UsageError(f"no {what[0]} is called {what[1]!r}")
    return Subject(*what)


def _all(client: KubeClient, name: str, *, write: bool, reaching: Reaching) -> list[Section]:
    now = datetime.now(UTC)
    installation = list(check_installation(client, now=now, namespace=name))
    namespace = _namespace(client, name)
    findings = list(check_namespace(namespace)) if namespace else _unreadable(name)
    asked = _asked(client, name)
    wiring = asked or expected_wiring(namespace or Namespace(name, {}, {}), platform_of(client) or Platform())
    found, token = read_token(client, name, wiring.secret)
    findings.append(found)
    findings.append(
        check_token(token, namespace=name, secret=wiring.secret, now=now)
        if token is not None
        else skipped(GOOD, f"{SECRET} gives no token")
    )
    target = Target(
        uri=reaching.url or wiring.tracking_uri,
        workspace=wiring.workspace,
        token=token,
        namespace=name,
        secret=wiring.secret,
        unread="wiring" if not (asked or namespace) else "token" if found.status is Status.SKIPPED else "",
    )
    return [
        ("installation", installation),
        (f"namespace {name}", findings),
        (f"tracking server {wiring.tracking_uri}", list(_server(client, target, write=write, now=now, by=reaching))),
    ]


def _namespace(client: KubeClient, name: str) -> Namespace | None:
    """Read a namespace; None when that may not be done."""
    try:
        metadata = client.get(f"/api/v1/namespaces/{name}", metadata_only=True)["metadata"]
    except KubeNotFoundError:
        raise click.ClickException(f"there is no namespace {name}") from None
    except KubeForbiddenError:
        return None
    return Namespace(name, metadata.get("labels") or {}, metadata.get("annotations") or {})


def _unreadable(name: str) -> list[Finding]:
    return [skipped(check, f"you may not read the namespace {name}") for check in (LABELLED, ANNOTATIONS, WORKSPACE)]


def _asked(client: KubeClient, name: str) -> Wiring | None:
    """Ask the webhook itself what a pod there gets; None where that cannot be."""
    try:
        return wiring_of(sample_pod(client, name))
    except KubeError:
        return None


def _server(client: KubeClient, target: Target, *, write: bool, now: datetime, by: Reaching) -> Iterator[Finding]:
    uris = [target.uri]
    if target.token:
        with suppress(NotATokenError):
            uris.append(read_claims(target.token).issuer)
    service = by.service(client, target.uri)
    with open_client(timeout=by.timeout, verify=by.verify, mounts=by.mounts(client, uris)) as http:
        try:
            yield from check_server(http, target, now=now, write=write)
        except UnreachableError as error:
            if error.code and service:
                remedy = f"kubectl get services,pods --namespace {service.namespace}"
                yield failed(REACHABLE, error.code, f"{target.uri}: {error}.", remedy)
            else:
                yield skipped(
                    REACHABLE, f"no way there from here: {error}. Give --url, or run the check in the cluster"
                )


def _pods(client: KubeClient, namespace: str, subject: Subject) -> list[Section]:
    pods = find_pods(client, namespace, subject)
    if not pods:
        raise click.ClickException(f"there are no pods of {subject.kind} {subject.name} in the namespace {namespace}")
    found = _namespace(client, namespace)
    if found is None:
        why = f"you may not read the namespace {namespace}"
        return [(f"{subject.kind} {subject.name}", [skipped(WIRING, why)])]
    platform = platform_of(client)
    title = f"{subject.kind} {subject.name}"
    if platform is None:
        title += " (by the built-in settings: the webhook's own may not be read)"
    findings = []
    for pod in pods:
        findings += [check_pod(pod, found, platform or Platform()), *check_env_from(client, pod, namespace)]
    return [(title, findings)]


def _shown(text: str) -> str:
    """Take the control characters out of what servers and tokens say: a terminal would obey them."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def print_sections(sections: list[Section]) -> None:
    """Show findings to a person, by section, and count them."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200, soft_wrap=True)
    for title, findings in sections:
        console.print(f"[bold]{escape(title)}[/]")
        for finding in findings:
            note = f" ({finding.status})" if finding.status is Status.SKIPPED else ""
            console.print(f"{_MARKS[finding.status]} {finding.check}{note}: {escape(_shown(finding.message))}")
            if finding.code:
                console.print(f"    {finding.code}; see docs/checks.md#{finding.check}")
            if finding.remedy:
                console.print(f"    do: {escape(_shown(finding.remedy))}")
        console.print()
    every = list(chain.from_iterable(findings for _, findings in sections))
    counts = {status: sum(finding.status is status for finding in every) for status in Status}
    console.print(", ".join(f"{number} {status}" for status, number in counts.items() if number))
