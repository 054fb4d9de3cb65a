"""What checks find. The names of checks and codes are stable: docs/checks.md has a section for each check."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

_LONGEST = 2000
"""The most characters of a message."""


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's result. `code` names the cause of a failure or warning, `remedy` is what to do about it."""

    check: str
    status: Status
    message: str
    code: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """The findings about one subject. `name` is stable: installation, namespace, server or pod.

    `note` is what a person must know to read the findings, or empty.
    """

    name: str
    subject: str
    findings: list[Finding] = field(default_factory=list)
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, always with every key."""
        return {"section": self.name, "subject": self.subject, "note": self.note} | {
            "findings": [asdict(finding) for finding in self.findings]
        }


def _short(message: str) -> str:
    """Return a message, cut to a readable length: parts of it may come from a server."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"


def passed(check: str, message: str) -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(check=check, status=Status.PASSED, message=_short(message))


def failed(check: str, code: str, message: str, remedy: str) -> Finding:
    """Return a finding that something is wrong."""
    return Finding(check=check, status=Status.FAILED, code=code, message=_short(message), remedy=remedy)


def warned(check: str, code: str, message: str, remedy: str) -> Finding:
    """Return a finding that something works, but that a person should know about it."""
    return Finding(check=check, status=Status.WARNED, code=code, message=_short(message), remedy=remedy)


def skipped(check: str, why: str) -> Finding:
    """Return a finding that a check could not be done."""
    return Finding(check=check, status=Status.SKIPPED, message=_short(why))
