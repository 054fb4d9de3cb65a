"""Prints runs: a table with curves for a person, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from webhook.cli.terminal import printable
from webhook.runs.arrange import shared_metrics
from webhook.runs.causes import Cause
from webhook.runs.curve import draw
from webhook.runs.search import Found, Report
from webhook.runs.table import STATUS, Links, cells, document, header

_STYLES = {"FINISHED": "green", "FAILED": "red", "KILLED": "yellow", "RUNNING": "cyan"}
_WIDE = 10_000
"""Wide enough for any table: a terminal wraps long lines, as with kubectl."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How runs are printed. `metrics`: the columns, if not those that most runs share. `template`: `mlflowUrl`."""

    json: bool
    metrics: tuple[str, ...]
    plot: str | None
    template: str


class Printer:
    """Prints results: once, or each time that they have changed."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._console = Console(highlight=False, soft_wrap=True)
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._printed: object = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Redraw in place while the context lasts, on a terminal."""
        if self._style.json or not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Show the progress of the search, on a terminal."""
        if not self._errors.is_terminal:
            yield lambda _: None
            return
        with self._errors.status("searching") as status:
            yield status.update

    def between(self, found: Found) -> None:
        """Show an intermediate result: in place on a terminal; otherwise print it if a status has changed."""
        if self._live:
            self._live.update(self._text(found), refresh=True)
        elif not self._style.json and found.rows and self._printed != _statuses(found):
            self.final(found)
            self._console.print()

    def final(self, found: Found) -> None:
        """Print the result, unless it was just printed."""
        if self._style.json:
            links = Links(self._style.template, found.workspace)
            now = datetime.now(UTC)
            documents = [
                document(row, links, now=now, history=found.histories.get(row.run.id, ())) for row in found.rows
            ]
            click.echo(json.dumps(documents, indent=2, allow_nan=False))
        elif found.rows and self._printed != _statuses(found):
            wide = Console(highlight=False, width=_WIDE)
            with wide.capture() as capture:
                wide.print(self._text(found))
            for line in capture.get().splitlines():
                click.echo(line.rstrip())
        self._printed = _statuses(found)

    def none(self, what: str, causes: Sequence[Cause]) -> None:
        """Print that there are no runs of something, and why."""
        self._errors.print(Text(printable(f"No runs of {what}.")))
        for cause in causes:
            self._errors.print(Text(f"{cause.code}: {printable(cause.message)}"))
            if cause.remedy:
                self._errors.print(Text(f"    do: {printable(cause.remedy)}"))

    def note(self, text: str) -> None:
        """Print a note about the result."""
        self._errors.print(Text(f"note: {printable(text)}"))

    def _text(self, found: Found) -> RenderableType:
        runs = [row.run for row in found.rows]
        metrics = self._style.metrics or shared_metrics(runs)
        links, now = Links(self._style.template, found.workspace), datetime.now(UTC)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in header(metrics, links):
            table.add_column(Text(printable(title)), no_wrap=True)
        for row in found.rows:
            texts = [Text(printable(cell)) for cell in cells(row, metrics, links, now=now)]
            texts[STATUS].style = _STYLES.get(row.run.status, "")
            table.add_row(*texts)
        curves: list[RenderableType] = []
        for run in runs:
            if curve := draw(found.histories.get(run.id, ())):
                above = Text(f"\n{printable(run.name)}  ", style="bold")
                curves += [above.append(printable(self._style.plot or "")), *(Text(f"  {line}") for line in curve)]
        return Group(table, *curves)


def _statuses(found: Found) -> object:
    return [(row.run.id, row.run.status) for row in found.rows]
