"""The moments of the calendar that break code which works on other days. Pure."""
# ruff: noqa: DTZ001 - a moment is local, in whatever zone the suite runs

from __future__ import annotations

from calendar import isleap
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from savepoint_ci.rerun.ran import Ran
from savepoint_ci.rerun.variation import Variation

__all__ = ["calm", "looks_at_clock", "moments"]

_CENTRAL_EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"  # as POSIX spells it, for machines without time zone files


def moments(now: datetime) -> Iterator[Variation]:
    """Runs in which the clock passes such a moment, the nearest of its kind, while a test looks at it.

    :param now: without a zone; to the day is enough.
    """
    year, month = divmod(now.year * 12 + now.month, 12)
    yield _passing("midnight", datetime(year, month + 1, 16))
    yield _passing("month-end", datetime(now.year + (now.month > 1), 2, 1))
    leap_days = (datetime(year, 2, 29) for year in range(now.year, now.year + 9) if isleap(year))
    yield _passing("leap-day", next(day for day in leap_days if day > now) + timedelta(days=1))
    yield _passing("year-end", datetime(now.year + 1, 1, 1))
    april = datetime(now.year + (now.month > 2), 4, 1)
    last_sunday = april - timedelta(days=april.isoweekday())
    eve = last_sunday - timedelta(hours=12)
    yield replace(_passing("eve-of-summer-time", eve), zone=_CENTRAL_EUROPE)


def _passing(name: str, moment: datetime) -> Variation:
    return Variation(name, clock=moment.isoformat())


def calm(variation: Variation) -> Variation:
    """The same clock at noon on the 15th: what fails there, too, does not fail for the moment.

    It may compare the clock with the database's, which is not shifted, or with a date that is written down.
    """
    day = datetime.fromisoformat(variation.clock) - timedelta(seconds=1)
    return replace(variation, name="calm-day", clock=day.replace(day=15, hour=12, minute=0, second=0).isoformat())


def looks_at_clock(ran: Ran) -> bool:
    """Whether the caller's code asked for the time in a run with such a clock; otherwise no moment changes anything."""
    return any(fact["kind"] == "clock_looked" for fact in ran.facts)
