"""Checks the values of options that several commands have, as click calls it."""

from __future__ import annotations

import re
from typing import TypeVar

import click

from webhook.core.values import DNS_LABEL

T = TypeVar("T", None, str, tuple[str, ...])


def valid_namespace(ctx: click.Context, param: click.Parameter, value: T) -> T:
    """Check that names are valid for namespaces: DNS labels (RFC 1123), as the API server requires."""
    names: tuple[str, ...] = value if isinstance(value, tuple) else () if value is None else (value,)
    for name in names:
        if not re.fullmatch(DNS_LABEL, name):
            expected = "1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
            raise click.BadParameter(f"{name!r} is not a valid name of a namespace: expected {expected}", ctx, param)
    return value
