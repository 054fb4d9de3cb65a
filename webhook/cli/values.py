"""Checks of the values that several commands' options take, as click calls them."""

from __future__ import annotations

import re
from typing import TypeVar

import click

T = TypeVar("T", None, str, tuple[str, ...])
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def valid_namespace(ctx: click.Context, param: click.Parameter, value: T) -> T:
    """Take names that a namespace can have: DNS labels (RFC 1123), as the API server has it."""
    names: tuple[str, ...] = value if isinstance(value, tuple) else () if value is None else (value,)
    for name in names:
        if not _DNS_LABEL.fullmatch(name):
            expected = "1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
            raise click.BadParameter(f"no namespace is called {name!r}: expected {expected}", ctx, param)
    return value
