"""Draws a small curve of a metric for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import plotille

from webhook.runs.run import Point

WIDTH, HEIGHT = 60, 4
"""In characters. Each is two dots wide and four dots high."""
_BLANK = "\N{BRAILLE PATTERN BLANK}"
_LARGEST = 1e300
"""The difference of two larger values may not be a number."""


def draw(points: Sequence[Point]) -> list[str]:
    """Return the lines of a curve over the steps, with its limits next to it, or an empty list without a finite value.

    Values that were all logged without a step are drawn in the order of their time.
    """
    finite = [point for point in points if abs(point.number) < _LARGEST]
    finite.sort(key=lambda point: (point.step, point.timestamp))
    if not finite:
        return []
    unit, steps = "step", [point.step for point in finite]
    if len(finite) > 1 and steps[0] == steps[-1]:
        unit, steps = "value", list(range(1, len(finite) + 1))
    numbers = [point.number for point in finite]
    first, last, low, high = steps[0], steps[-1], min(numbers), max(numbers)
    canvas = plotille.Canvas(
        WIDTH, HEIGHT, xmin=first, xmax=_beyond(first, last, WIDTH * 2), ymin=low, ymax=_beyond(low, high, HEIGHT * 4)
    )
    dots = list(zip(steps, numbers, strict=True))
    canvas.point(*dots[0])
    for before, after in pairwise(dots):
        canvas.line(*before, *after)
    top = f"{high:.4g}" if high > low else ""  # a horizontal line is at the bottom
    labels = [top, *[""] * (HEIGHT - 2), f"{low:.4g}"]
    margin = max(map(len, labels))
    rows = [row.rstrip(_BLANK) for row in canvas.plot().splitlines()]
    lines = [f"{label:>{margin}} ┤{row}" for label, row in zip(labels, rows, strict=True)]
    axis = f"{unit} {first}"
    end = str(last) if first < last else ""
    return [*lines, f"{'':>{margin}}  {axis}{end:>{WIDTH - len(axis)}}".rstrip()]


def _beyond(low: float, high: float, dots: int) -> float:
    """Return the upper limit for a number of dots, so that the last dot is at `high`."""
    return low + (high - low) * dots / (dots - 1) if high > low else low + abs(low) + 1
