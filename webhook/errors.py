"""Describes where an error was raised, without its message, which may quote a pod or a secret."""

from __future__ import annotations

import traceback
from pathlib import Path


def error_location(error: BaseException) -> str:
    """Return the error's class and the innermost three places of its traceback, such as ``KeyError at a.py:3 f``."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}" if places else type(error).__name__
