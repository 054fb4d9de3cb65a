"""A curve of any values fits into a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.runs.curve import HEIGHT, WIDTH, draw
from webhook.runs.run import Point

BLANK = "\N{BRAILLE PATTERN BLANK}"


def inked(line: str) -> list[int]:
    return [place for place, dots in enumerate(line.partition("┤")[2]) if dots != BLANK]


def test_a_falling_curve_falls_from_the_left_to_the_right_between_its_limits() -> None:
    top, *_, bottom, axis = draw([Point("loss", 2 * 0.9**step, step) for step in range(50)])
    assert min(inked(top)) == 0
    assert max(inked(bottom)) == WIDTH - 1
    assert max(inked(top)) < min(inked(bottom))
    assert (top.split("┤")[0].strip(), bottom.split("┤")[0].strip()) == ("2", "0.01145")
    assert axis.split() == ["step", "0", "49"]


def test_values_without_steps_are_drawn_in_the_order_of_their_time() -> None:
    *rows, axis = draw([Point("loss", float(9 - at), 0, at) for at in reversed(range(10))])
    assert min(inked(rows[0])) == 0
    assert axis.split() == ["value", "1", "10"]


@pytest.mark.parametrize("values", [[], ["NaN"], [1.7976931348623157e308], ["NaN", "Infinity"]])
def test_without_a_number_there_is_no_curve(values: list[float | str]) -> None:
    assert draw([Point("loss", value, step) for step, value in enumerate(values)]) == []


def test_a_single_value_is_a_dot_and_equal_ones_are_a_level_line() -> None:
    *_, bottom, axis = draw([Point("loss", 0.25, 7)])
    assert (inked(bottom), axis.split()) == ([0], ["step", "7"])
    *_, bottom, _ = draw([Point("loss", 0.25, step) for step in range(3)])
    assert inked(bottom) == list(range(WIDTH))


@given(st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1)), max_size=20))
def test_every_curve_has_its_size(points: list[tuple[float, int]]) -> None:
    lines = draw([Point("loss", value, step) for value, step in points])
    assert len(lines) in {0, HEIGHT + 1}
    assert all(len(line.partition("┤")[2]) <= WIDTH for line in lines[:-1])
