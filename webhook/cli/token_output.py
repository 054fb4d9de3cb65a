"""What `token` prints about a token: as text and as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from webhook.cli.terminal import printable
from webhook.token.claims import Claims
from webhook.token.durations import format_duration


def facts(claims: Claims, now: datetime) -> dict[str, Any]:
    """Return what a token says, for JSON."""
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
        "warning": claims.warning,
    }


def print_claims(claims: Claims, now: datetime) -> None:
    """Print what a token says, a line for each claim."""
    left = claims.left(now)
    if left is None:
        expires = "it does not say"
    elif left > timedelta(0):
        expires = f"in {format_duration(left)} ({claims.expires:%Y-%m-%d %H:%M} UTC)"
    else:
        expires = f"{format_duration(-left)} ago ({claims.expires:%Y-%m-%d %H:%M} UTC)"
    rows = {
        "owner": claims.owner or "it does not say",
        "subject": claims.subject or "it does not say",
        "groups": ", ".join(claims.groups) or "none",
        "audience": ", ".join(claims.audience) or "none",
        "issuer": claims.issuer or "it does not say",
        "issued": f"{claims.issued:%Y-%m-%d %H:%M} UTC" if claims.issued else "it does not say",
        "expires": expires,
    }
    for name, value in rows.items():
        click.echo(f"  {name:<9} {printable(value)}")
