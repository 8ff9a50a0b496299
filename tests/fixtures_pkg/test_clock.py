"""A shifted clock passes its moment at the second look, whoever asks and however, and leaves no trace."""
# ruff: noqa: DTZ002, DTZ005, DTZ007, DTZ011, DTZ012, ICN001, PLW0108 - every way in which people ask

from __future__ import annotations

import datetime as module
import logging
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone

import pytest
from pytest_savepoint.clock import Clock

LEAP_DAY, MARCH = date(2028, 2, 29), date(2028, 3, 1)


@pytest.fixture
def looks() -> Iterator[list[int]]:
    """The clock passes the end of the leap day; the list grows with each test that looks at it."""
    looks: list[int] = []
    clock = Clock("2028-03-01T00:00:00", owns=lambda file: file == __file__, looked=lambda: looks.append(1))
    clock.start()
    yield looks
    clock.stop()


WAYS: list[Callable[[], date]] = [
    lambda: date.today(),
    lambda: module.datetime.now().date(),
    lambda: datetime.today().date(),
    lambda: datetime.now(timezone.utc).astimezone().date(),
    lambda: datetime.utcnow().replace(tzinfo=timezone.utc).astimezone().date(),
    lambda: date.fromtimestamp(time.time()),
    lambda: date.fromtimestamp(time.time_ns() / 1e9),
    lambda: date(*time.localtime()[:3]),
    lambda: date.fromisoformat(time.strftime("%Y-%m-%d")),
    lambda: datetime.strptime(time.ctime(), "%a %b %d %H:%M:%S %Y").date(),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
def test_second_look_is_past_the_moment_however_it_is_asked(looks, way):
    assert [way(), way(), way()] == [LEAP_DAY, MARCH, MARCH]
    assert looks == [1]


def test_look_of_a_library_is_none(looks):
    logging.makeLogRecord({})
    assert looks == []
    assert date.today() == LEAP_DAY


def test_classes_stay_what_they_are(looks):
    class Own(datetime):
        pass

    assert type(Own.now()) is Own
    assert type(datetime.now()) is datetime
    assert time.localtime(0).tm_year in (1969, 1970)
    assert time.strftime("%Y", time.gmtime(86_400 * 366)) == "1971"


def test_real_clock_is_back_afterwards():
    before = datetime.now(), time.time(), date.__dict__["today"]
    clock = Clock("2028-03-01T00:00:00", owns=lambda file: True, looked=lambda: None)
    clock.start()
    clock.stop()
    assert datetime.now() - before[0] < module.timedelta(minutes=10)
    assert time.time() - before[1] < 600
    assert date.__dict__["today"] is before[2]
