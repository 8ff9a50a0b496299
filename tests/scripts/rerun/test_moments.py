"""The moments of a search are still to come, and each is what its name says; the calm day is none of them."""
# ruff: noqa: DTZ001 - a moment is local

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from savepoint_ci.rerun.moments import calm, moments

A_MOMENT = timedelta(seconds=1)
DAYS = [datetime(2027, 1, 1) + timedelta(days=37 * number) for number in range(45)]


@pytest.mark.parametrize("now", [*DAYS, datetime(2028, 2, 28), datetime(2028, 2, 29), datetime(2096, 3, 1)])
def test_each_moment_is_the_next_of_its_kind(now):
    found = {variation.name: datetime.fromisoformat(variation.clock) for variation in moments(now)}
    assert all(moment > now for moment in found.values())
    before = {name: moment - A_MOMENT for name, moment in found.items()}
    assert (before["month-end"].day, found["month-end"].month) == (31, 2)
    assert (before["leap-day"].month, before["leap-day"].day) == (2, 29)
    assert (before["year-end"].month, before["year-end"].day) == (12, 31)
    assert (before["midnight"].day, found["midnight"].day) == (15, 16)
    eve = found["eve-of-summer-time"]
    assert (eve.month, eve.isoweekday(), (eve + timedelta(days=8)).month) == (3, 6, 4)


def test_calm_day_is_the_noon_of_a_fifteenth_with_the_same_zone():
    for variation in moments(datetime(2027, 1, 30)):
        other = calm(variation)
        day = datetime.fromisoformat(other.clock)
        assert (day.day, day.hour, other.zone) == (15, 12, variation.zone)
        assert abs(day - datetime.fromisoformat(variation.clock)) < timedelta(days=18)
