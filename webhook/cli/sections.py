"""Prints the doctor's sections: for a person, or as JSON."""

from __future__ import annotations

import json
import sys
from itertools import chain

import click
from rich.console import Console
from rich.markup import escape

from webhook.cli.terminal import printable
from webhook.doctor.findings import Section, Status

_MARKS = {Status.PASSED: "[green]√[/]", Status.WARNED: "[yellow]‼[/]", Status.FAILED: "[red]×[/]", Status.SKIPPED: "-"}
_TITLES = {"installation": "installation", "server": "tracking server"}


def print_json(sections: list[Section]) -> None:
    """Print the sections as a JSON array."""
    click.echo(json.dumps([section.to_dict() for section in sections], indent=2))


def print_text(sections: list[Section]) -> None:
    """Print the sections for a person, and count the findings."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200, soft_wrap=True)
    for section in sections:
        title = _TITLES.get(section.name, section.name)
        subject = "" if section.name == "installation" else f" {section.subject}"
        note = f" ({section.note})" if section.note else ""
        console.print(f"[bold]{escape(printable(title + subject))}[/]{escape(note)}")
        for finding in section.findings:
            status = f" ({finding.status})" if finding.status is Status.SKIPPED else ""
            console.print(f"{_MARKS[finding.status]} {finding.check}{status}: {escape(printable(finding.message))}")
            if finding.code:
                console.print(f"    {finding.code}; see docs/checks.md#{finding.check}")
            if finding.remedy:
                console.print(f"    do: {escape(printable(finding.remedy))}")
        console.print()
    every = list(chain.from_iterable(section.findings for section in sections))
    counts = {status: sum(finding.status is status for finding in every) for status in Status}
    console.print(", ".join(f"{number} {status}" for status, number in counts.items() if number))
