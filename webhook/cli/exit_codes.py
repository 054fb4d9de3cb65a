"""The exit codes of every command; docs/checks.md documents them once."""

from __future__ import annotations

ERROR = 1
"""The command failed, or could not check."""
FOUND = 3
"""The command found a problem. 0 means that it found none; click uses 2 for invalid usage."""

EPILOG = "Exit codes: 0 no problem, 3 problem found, 1 failed, 2 invalid usage."
