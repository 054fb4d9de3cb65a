from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certs.issue import CLOCK_SKEW, issue_ca
from certs.renewal import Validity, validity

START = datetime(2026, 1, 1, tzinfo=UTC)
SPAN = Validity(not_before=START - timedelta(hours=1), not_after=START + timedelta(days=30), issued=START)


@pytest.mark.parametrize(("day", "due"), [(-1, True), (0, False), (19, False), (20, True), (29, True), (31, True)])
def test_a_certificate_is_renewed_after_two_thirds_of_its_life(day: int, due: bool) -> None:
    assert SPAN.due(START + timedelta(days=day)) is due


@pytest.mark.parametrize(("minutes", "due"), [(2, False), (59, False), (60, False), (61, True)])
def test_a_certificate_of_the_future_is_renewed_only_when_it_is_not_valid_yet(minutes: int, due: bool) -> None:
    """Clocks of different machines differ by seconds or minutes."""
    assert SPAN.due(START - timedelta(minutes=minutes)) is due


@pytest.mark.parametrize(("lifetime", "day", "due"), [(9, 5, False), (9, 6, True), (90, 19, False), (90, 20, True)])
def test_a_shorter_lifetime_counts_and_a_longer_one_does_not(lifetime: int, day: int, due: bool) -> None:
    assert SPAN.due(START + timedelta(days=day), lifetime=timedelta(days=lifetime)) is due


def test_the_remaining_time_is_negative_after_the_expiry() -> None:
    assert SPAN.left(START + timedelta(days=31)) == -timedelta(days=1)


def test_the_time_before_its_issue_is_not_part_of_its_lifetime() -> None:
    short = issue_ca(common_name="short", lifetime=timedelta(seconds=30), now=START)
    span = validity(short.certificate_pem, backdated=CLOCK_SKEW)
    assert not span.due(START + timedelta(seconds=19))
    assert span.due(START + timedelta(seconds=20))


def test_bytes_that_are_not_a_certificate_are_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        validity(b"rubbish")
