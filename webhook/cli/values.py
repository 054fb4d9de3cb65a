"""Checks of the values that several commands' options take, as click calls them."""

from __future__ import annotations

import re
from typing import TypeVar

import click

from webhook.core.configuration import DNS_LABEL

T = TypeVar("T", None, str, tuple[str, ...])


def valid_namespace(ctx: click.Context, param: click.Parameter, value: T) -> T:
    """Take names that a namespace can have: DNS labels (RFC 1123), as the API server has it."""
    names: tuple[str, ...] = value if isinstance(value, tuple) else () if value is None else (value,)
    for name in names:
        if not re.fullmatch(DNS_LABEL, name):
            expected = "1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
            raise click.BadParameter(f"no namespace is called {name!r}: expected {expected}", ctx, param)
    return value
