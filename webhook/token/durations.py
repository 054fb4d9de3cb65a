"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta


def format_duration(span: timedelta) -> str:
    """Return a duration in its two largest units, rounded down: ``2 h 5 min``."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0 s"
