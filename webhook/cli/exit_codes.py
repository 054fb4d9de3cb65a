"""The exit codes of every command; docs/checks.md documents them once."""

from __future__ import annotations

ERROR = 1
"""The command could not look, or could not do what it is for."""
FOUND = 3
"""The command looked, and found something wrong. 0 means that nothing is wrong; click uses 2 for a wrong call."""

EPILOG = "Exit codes: 0 good, 3 found something wrong, 1 could not look, 2 wrong call."
