"""Reads the values of options, as click calls it: names, numbers, files, the format of the output."""

from __future__ import annotations

import os
import re
import ssl
from math import nan
from typing import Any, TypeVar

import click

from webhook.core.values import DNS_LABEL

T = TypeVar("T", None, str, tuple[str, ...])

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text, or JSON for scripts.",
)


def valid_namespace(ctx: click.Context, param: click.Parameter, value: T) -> T:
    """Check that names are valid for namespaces: DNS labels (RFC 1123), as the API server requires."""
    names: tuple[str, ...] = value if isinstance(value, tuple) else () if value is None else (value,)
    for name in names:
        if not re.fullmatch(DNS_LABEL, name):
            expected = "1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
            raise click.BadParameter(f"{name!r} is not a valid name of a namespace: expected {expected}", ctx, param)
    return value


class LocalPath(click.Path):
    """A path on this machine. If it cannot be used, the exit code is 1, not 2, because the call itself is valid."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path. Raises ClickException."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            option = f"{param.opts[-1]}: " if param else ""
            raise click.ClickException(f"{option}{error.message}") from None


class Number(click.ParamType):  # type: ignore[type-arg]  # before click 8.4 it has no type argument
    """A number from `least` to `most`. `what` describes it, such as "a number of seconds"."""

    name = "number"

    def __init__(self, what: str, least: float, most: float, *, whole: bool = False) -> None:
        self._what, self._least, self._most, self._whole = what, least, most, whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number. Raises BadParameter."""
        try:
            number: float = int(value) if self._whole else float(value)
        except ValueError:
            number = nan
        if not self._least <= number <= self._most:  # also refuses nan
            self.fail(f"{value!r}: expected {self._what} from {self._least:g} to {self._most:g}", param, ctx)
        return number


def trust(ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the system's CAs and those of a file. Raises ClickException."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise click.ClickException(f"{ca_file} contains no certificate in PEM form") from None
    except OSError as error:
        raise click.ClickException(f"cannot read {ca_file}: {error.strerror}") from None
