"""`token`: mints the token for MLflow and keeps it fresh in a Secret; shows what a token says."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx

from webhook.cli.exit_codes import EPILOG, FOUND
from webhook.cli.terminal import printable
from webhook.cli.token_output import facts, print_claims
from webhook.cli.values import LocalPath, Number, output_option, trust, valid_namespace
from webhook.cluster.kube import KubeClient, KubeError
from webhook.core.values import SecretKey, parse_secret
from webhook.network import ProxySettingsError, open_client
from webhook.token.claims import Claims, NotATokenError, problem_of, read_claims
from webhook.token.credentials import CA_FILE, FIELDS, ISSUER, OPTIONAL, CredentialsError, find_ca, find_credentials
from webhook.token.durations import format_duration
from webhook.token.grant import SCOPE, Credentials, Endpoint, GrantError
from webhook.token.minter import PasswordMinter
from webhook.token.refresh import Outcome, RefreshError, TokenSecret, expires_soon
from webhook.token.refresh import refresh as refresh_secret


@click.group()
def token() -> None:
    """Mint, refresh and show the token for MLflow. The token itself is never printed."""


def _secret(_context: click.Context, _parameter: click.Parameter, value: str) -> SecretKey:
    try:
        return parse_secret(value)
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from error


def _secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "-n", "--namespace", metavar="NAME", callback=valid_namespace,
            help="The namespace of the Secret.  [default: the context's]",
        ),
        click.option(
            "--secret", metavar="NAME[/KEY]", default="mlflow-token", show_default=True, callback=_secret,
            help="The Secret, and its key if that is not token.",
        ),
        click.option(
            "--kubeconfig", metavar="FILE", help="The kubeconfig file.  [default: KUBECONFIG, or ~/.kube/config]"
        ),
        click.option("--context", metavar="NAME", help="The context of the kubeconfig."),
        output_option,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_allow_unverified_email = click.option(
    "--allow-unverified-email",
    is_flag=True,
    envvar="MLFLOW_TOKEN_ALLOW_UNVERIFIED_EMAIL",
    show_envvar=True,
    help="Accept a token that says email_verified: false, as oauth2-proxy does with "
    "--insecure-oidc-allow-unverified-email.",
)


@token.command(
    short_help="Show whose a token is, and when it expires.",
    epilog=f"{EPILOG} If the token will be refused, the exit code is 3.",
)
@_secret_options
@click.option("-f", "--file", metavar="FILE", help="Read the token from a file instead (-: standard input).")
@click.option("--audience", metavar="NAME", help="The audience that the token must have.")
@_allow_unverified_email
def show(
    namespace: str | None,
    secret: SecretKey,
    kubeconfig: str | None,
    context: str | None,
    output: str,
    file: str | None,
    audience: str | None,
    allow_unverified_email: bool,
) -> None:
    """Show whose token it is, for which audience, and when it expires."""
    now = datetime.now(UTC)
    if file is not None:
        if namespace:
            raise click.UsageError("give --file or --namespace, not both")
        text, place = _read(file), "standard input" if file == "-" else file
    else:
        found = _open(namespace, secret, kubeconfig, context)
        place = found.place
        try:
            stored = found.read()
        except KubeError as error:
            raise click.ClickException(f"{place}: {error.message}") from error
        if stored is None:
            raise click.ClickException(f"{place}: not found")
        text = stored.token
    problem = problem_of(text, now=now, audience=audience, allow_unverified_email=allow_unverified_email)
    try:
        claims = read_claims(text)
    except NotATokenError:
        claims = None
    if output == "json":
        click.echo(json.dumps({**facts(claims or Claims(), now), "problem": problem}, indent=2))
    else:
        click.echo(place)
        if claims:
            print_claims(claims, now)
        if problem:
            click.echo(f"  problem   {problem.sentence}")
        if claims and claims.warning:
            click.echo(f"  warning   {printable(claims.warning)}")
    if problem:
        sys.exit(FOUND)


_ENV = ", ".join(FIELDS.values())


@token.command(
    name="refresh",
    short_help="Replace the token in a Secret if needed.",
    epilog=f"{EPILOG} If no new token is stored, the old one stays, and the exit code is 1.",
)
@_secret_options
@click.option(
    "--issuer",
    metavar="URL",
    required=True,
    envvar=ISSUER,
    show_envvar=True,
    help="Dex's address, which usually ends in /dex.",
)
@click.option("--token-url", metavar="URL", default="", help="The token endpoint, if it is not ISSUER/token.")
@click.option(
    "--scope",
    default=SCOPE,
    show_default=True,
    envvar="MLFLOW_TOKEN_SCOPE",
    show_envvar=True,
    help="The scopes to request, separated by spaces.",
)
@click.option(
    "--audience",
    metavar="NAME",
    envvar="MLFLOW_TOKEN_AUDIENCE",
    show_envvar=True,
    help="The audience that the token must have. A token for another audience is not stored.",
)
@_allow_unverified_email
@click.option(
    "--credentials",
    type=LocalPath(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help=f"A mounted Secret with the files {', '.join(FIELDS)}, and {CA_FILE} if Dex's certificate needs it. Missing "
    f"values come from {_ENV}, or from a prompt on a terminal.",
)
@click.option("--basic", is_flag=True, help="Send the client id and secret in a Basic header instead of the body.")
@click.option(
    "--ca-file",
    type=LocalPath(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"The CA of Dex's certificate.  [default: {CA_FILE} in the credentials' folder, or the system's CAs]",
)
@click.option(
    "--after",
    type=Number("a number", 0, 1),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Mint a new token when this share of the old one's life has passed.",
)
@click.option("--force", is_flag=True, help="Always mint a new token.")
@click.option(
    "--timeout",
    type=Number("a number of seconds", 0.1, 300),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="The timeout of each attempt, for the connection and for each part of the answer.",
)
@click.option(
    "--attempts",
    type=Number("a whole number", 1, 10, whole=True),
    default=4,
    show_default=True,
    metavar="NUMBER",
    help="The number of attempts.",
)
@click.option("--event", is_flag=True, help="On failure, write a Warning event if the old token expires soon.")
def refresh(
    namespace: str | None,
    secret: SecretKey,
    kubeconfig: str | None,
    context: str | None,
    output: str,
    issuer: str,
    token_url: str,
    scope: str,
    audience: str | None,
    allow_unverified_email: bool,
    credentials: Path | None,
    basic: bool,
    ca_file: Path | None,
    after: float,
    force: bool,
    timeout: float,
    attempts: int,
    event: bool,
) -> None:
    """Replace the token in a Secret if needed.

    The token is replaced when half of its life has passed, when something is wrong with it, or when these settings
    cannot have minted it: another issuer, user, client or scope, or a key that Dex no longer has. The new token is
    minted by the password grant, and checked before it is stored.
    """
    found = _open(namespace, secret, kubeconfig, context)
    clock = partial(datetime.now, UTC)
    endpoint = Endpoint(issuer=issuer, token_url=token_url, scope=scope, basic=basic)

    def find(may_ask: bool) -> Credentials:
        ask = _ask if may_ask and sys.stdin.isatty() else None
        return find_credentials(folder=credentials, environment=os.environ, ask=ask)

    try:
        endpoint.check()  # also if the token is kept: a wrong address is found now, not after half of its life
        with _client(ca_file or (credentials and find_ca(credentials)), timeout) as client:
            done = refresh_secret(
                found,
                PasswordMinter(endpoint=endpoint, find=find, client=client, sleep=time.sleep, attempts=attempts),
                clock=clock,
                audience=audience,
                allow_unverified_email=allow_unverified_email,
                after=after,
                force=force,
            )
    except (GrantError, RefreshError, CredentialsError, KubeError) as error:
        ending = expires_soon(found, now=clock())
        if event and ending:
            with suppress(KubeError):
                found.warn(f"{ending} No new one could be minted: {error}", now=clock())
        raise click.ClickException(printable(f"{found.place}: {error}" + (f" {ending}" if ending else ""))) from error
    if output == "json":
        result = {"outcome": done.outcome, "why": done.why, **facts(done.claims, clock())}
        click.echo(json.dumps(result, indent=2))
    else:
        verb = {Outcome.KEPT: "kept", Outcome.CREATED: "created", Outcome.RENEWED: "renewed"}[done.outcome]
        span = format_duration(done.claims.left(clock()) or timedelta())
        owner = f"{done.claims.owner}'s token" if done.claims.owner else "the token"
        click.echo(printable(f"{found.place}: {verb} ({done.why}); {owner} expires in {span}"))
    if done.claims.warning:
        click.echo(printable(f"Warning: {done.claims.warning}"), err=True)


@contextmanager
def _client(ca: Path | None, timeout: float) -> Iterator[httpx.Client]:
    try:
        client = open_client(verify=trust(ca), timeout=timeout)
    except ProxySettingsError as error:
        raise click.ClickException(str(error)) from error
    with client:
        yield client


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from error
    return content.decode(errors="replace")


def _ask(name: str) -> str:
    hidden, optional = name in {"password", "client-secret"}, name in OPTIONAL
    value: str = click.prompt(
        f"{name} (empty for a public client)" if optional else name,
        hide_input=hidden,
        default="" if optional else None,
        show_default=False,
        err=True,
    )
    return value


def _open(namespace: str | None, secret: SecretKey, kubeconfig: str | None, context: str | None) -> TokenSecret:
    try:
        client = KubeClient.from_environment(kubeconfig=kubeconfig, context=context)
    except KubeError as error:
        raise click.ClickException(error.message) from error
    return TokenSecret(client, namespace=namespace or client.namespace, secret=secret)
