"""What checks find. A finding's check and code are stable names: each has a section in docs/checks.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's result. `code` names the cause of a failure or warning; `remedy` is what to do about it."""

    check: str
    status: Status
    message: str
    code: str = ""
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON; empty fields are left out."""
        return {name: value for name, value in asdict(self).items() if value}


def passed(check: str, message: str) -> Finding:
    """Make a finding of what is as it should be."""
    return Finding(check=check, status=Status.PASSED, message=message)


def failed(check: str, code: str, message: str, remedy: str) -> Finding:
    """Make a finding of what is wrong."""
    return Finding(check=check, status=Status.FAILED, code=code, message=message, remedy=remedy)


def warned(check: str, code: str, message: str, remedy: str) -> Finding:
    """Make a finding of what a person should know."""
    return Finding(check=check, status=Status.WARNED, code=code, message=message, remedy=remedy)


def skipped(check: str, why: str) -> Finding:
    """Make a finding of what could not be tried."""
    return Finding(check=check, status=Status.SKIPPED, message=why)
