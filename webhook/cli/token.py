"""`token`: mint the token for MLflow and keep it fresh in a Secret; show what a token says."""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

from webhook.cli.values import valid_namespace
from webhook.cluster.kube import KubeClient, KubeError
from webhook.core.configuration import SecretKey, parse_secret
from webhook.network import ProxySettingsError, open_client
from webhook.token.claims import Claims, NotATokenError, problem_of, read_claims
from webhook.token.credentials import CA_FILE, FIELDS, OPTIONAL, CredentialsError, find_ca, find_credentials
from webhook.token.durations import format_duration
from webhook.token.grant import SCOPE, Endpoint, GrantError, mint
from webhook.token.refresh import Outcome, RefreshError, TokenSecret, expires_soon
from webhook.token.refresh import refresh as refresh_secret

NOT_GOOD = 3
"""The exit code of `token show` for a token that will be refused."""


@click.group()
def token() -> None:
    """Mint the token for MLflow, keep it fresh in a Secret, show what it says. No token is ever printed."""


def _secret(_context: click.Context, _parameter: click.Parameter, value: str) -> SecretKey:
    try:
        return parse_secret(value)
    except ValueError as error:
        raise click.BadParameter(f"expected {error}") from error


def _secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "-n", "--namespace", metavar="NAME", callback=valid_namespace,
            help="The Secret's namespace.  [default: the context's]",
        ),
        click.option(
            "--secret", metavar="NAME[/KEY]", default="mlflow-token", show_default=True, callback=_secret,
            help="The Secret, and the key in it (token).",
        ),
        click.option("--kubeconfig", metavar="FILE", help="The kubeconfig, if not the usual one."),
        click.option("--context", metavar="NAME", help="The context of the kubeconfig."),
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_allow_unverified_email = click.option(
    "--allow-unverified-email",
    is_flag=True,
    envvar="MLFLOW_TOKEN_ALLOW_UNVERIFIED_EMAIL",
    show_envvar=True,
    help="Take a token that says email_verified: false, as oauth2-proxy does with its option "
    "--insecure-oidc-allow-unverified-email.",
)


@token.command(
    short_help="Show whose a token is, and how long it is good.",
    epilog="Exit codes: 0 the token is good, 3 it will be refused, 1 an error, 2 a wrong call.",
)
@_secret_options
@click.option(
    "-f", "--file", type=click.File(errors="replace"), help="Read the token from a file (- for standard input) instead."
)
@click.option("--audience", metavar="NAME", help="What the token must have been issued for.")
@_allow_unverified_email
def show(
    namespace: str | None,
    secret: SecretKey,
    kubeconfig: str | None,
    context: str | None,
    output: str,
    file: Any,
    audience: str | None,
    allow_unverified_email: bool,
) -> None:
    """Show whose token it is, for which audience, and how long it is good."""
    now = datetime.now(UTC)
    if file is not None:
        if namespace:
            raise click.UsageError("--file and --namespace: the token comes from one of them")
        name = getattr(file, "name", "<stdin>")
        text, place = file.read(), "standard input" if name == "<stdin>" else name  # bytes that are no text: no token
    else:
        found = _open(namespace, secret, kubeconfig, context)
        place = found.place
        try:
            text = found.read()
        except KubeError as error:
            raise click.ClickException(f"{place}: {error.message}") from error
        if text is None:
            raise click.ClickException(f"{place}: there is none")
    problem = problem_of(text, now=now, audience=audience, allow_unverified_email=allow_unverified_email)
    try:
        claims = read_claims(text)
    except NotATokenError:
        claims = None
    if output == "json":
        click.echo(json.dumps({**_facts(claims or Claims(), now), "problem": problem}, indent=2))
    else:
        click.echo(place)
        if claims:
            _print(claims, now)
        if problem:
            click.echo(f"  problem   {problem.sentence}")
    if problem:
        sys.exit(NOT_GOOD)


_ENV = ", ".join(FIELDS.values())


@token.command(
    name="refresh",
    short_help="Put a fresh token into a Secret, if it is time.",
    epilog="Exit codes: 0 the token is fresh, 1 no new one was minted and the old one is in place, 2 a wrong call.",
)
@_secret_options
@click.option(
    "--issuer",
    metavar="URL",
    required=True,
    envvar="MLFLOW_TOKEN_ISSUER",
    show_envvar=True,
    help="Dex's address, which ends in /dex; the token endpoint is ISSUER/token.",
)
@click.option("--token-url", metavar="URL", default="", help="The token endpoint, where it is not ISSUER/token.")
@click.option(
    "--scope",
    default=SCOPE,
    show_default=True,
    envvar="MLFLOW_TOKEN_SCOPE",
    show_envvar=True,
    help="What to ask Dex for.",
)
@click.option(
    "--audience",
    metavar="NAME",
    envvar="MLFLOW_TOKEN_AUDIENCE",
    show_envvar=True,
    help="What the token must be issued for; another one is not used.",
)
@_allow_unverified_email
@click.option(
    "--credentials",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help=f"A mounted Secret with the files {', '.join(FIELDS)}, and {CA_FILE} if Dex's certificate needs one. "
    f"Else {_ENV}; else a prompt on a terminal.",
)
@click.option("--basic", is_flag=True, help="Send the client's id and secret in a Basic header, not in the body.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"The CA that verifies Dex's certificate.  [default: {CA_FILE} of the credentials' folder, else the system's]",
)
@click.option(
    "--after",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Mint a new token when this share of the present one's life is gone.",
)
@click.option("--force", is_flag=True, help="Mint a new token in any case.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=10,
    show_default=True,
    metavar="SECONDS",
    help="How long each attempt waits for a connection, and then for each part of the answer.",
)
@click.option("--attempts", type=click.IntRange(1, 10), default=4, show_default=True, help="Where it may pass.")
@click.option("--event", is_flag=True, help="On failure, write a Warning event when the present token ends soon.")
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
    """Put a fresh token into a Secret, if it is time: by the password grant, checked before it replaces the old one."""
    found = _open(namespace, secret, kubeconfig, context)
    clock = partial(datetime.now, UTC)
    endpoint = Endpoint(issuer=issuer, token_url=token_url, scope=scope, basic=basic)

    def minted() -> str:
        ask = _ask if sys.stdin.isatty() else None
        given = find_credentials(folder=credentials, environment=os.environ, ask=ask)
        ca = ca_file or (credentials and find_ca(credentials))
        try:
            context = ssl.create_default_context(cafile=str(ca) if ca else None)
        except ssl.SSLError as error:
            raise click.ClickException(f"{ca} holds no certificate in PEM") from error
        try:
            client = open_client(verify=context, timeout=timeout)
        except ProxySettingsError as error:
            raise click.ClickException(str(error)) from error
        with client:
            return mint(endpoint, given, client=client, sleep=time.sleep, attempts=attempts)

    try:
        done = refresh_secret(
            found,
            minted,
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
                found.warn(f"{ending} It could not be renewed: {error}", now=clock())
        raise click.ClickException(f"{found.place}: {error}" + (f" {ending}" if ending else "")) from error
    if output == "json":
        facts = {"outcome": done.outcome, "why": done.why, **_facts(done.claims, clock())}
        click.echo(json.dumps(facts, indent=2))
    else:
        verb = {Outcome.KEPT: "kept", Outcome.CREATED: "created", Outcome.RENEWED: "renewed"}[done.outcome]
        left = done.claims.left(clock())
        owner, span = _plain(done.claims.owner), format_duration(left or timedelta())
        click.echo(f"{found.place}: {verb} ({done.why}); it is {owner}'s and good for {span}")


def _plain(claim: str) -> str:
    """Leave out what a terminal would obey: a token's claims are whatever its author wrote."""
    return "".join(character for character in claim if character.isprintable())


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


def _facts(claims: Claims, now: datetime) -> dict[str, Any]:
    left = claims.left(now)
    return {
        "subject": claims.subject,
        "email": claims.email,
        "groups": list(claims.groups),
        "audience": list(claims.audience),
        "issuer": claims.issuer,
        "issued": claims.issued.isoformat() if claims.issued else None,
        "expires": claims.expires.isoformat() if claims.expires else None,
        "secondsLeft": None if left is None else int(left.total_seconds()),
    }


def _print(claims: Claims, now: datetime) -> None:
    left = claims.left(now)
    if left is None:
        ends = "it does not say"
    elif left > timedelta(0):
        ends = f"in {format_duration(left)} ({claims.expires:%Y-%m-%d %H:%M} UTC)"
    else:
        ends = f"{format_duration(-left)} ago ({claims.expires:%Y-%m-%d %H:%M} UTC)"
    rows = {
        "owner": claims.owner or "it does not say",
        "subject": claims.subject or "it does not say",
        "groups": ", ".join(claims.groups) or "none",
        "audience": ", ".join(claims.audience) or "none",
        "issuer": claims.issuer or "it does not say",
        "issued": f"{claims.issued:%Y-%m-%d %H:%M} UTC" if claims.issued else "it does not say",
        "ends": ends,
    }
    for name, value in rows.items():
        click.echo(f"  {name:<9} {_plain(value)}")
