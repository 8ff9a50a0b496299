"""The local zone against UTC, and the tests that would notice the difference."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import Connections
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.history import History

__all__ = ["LocalTime"]

_ASKS = {"today", "now"}


class LocalTime:
    """Records passing tests that ask for the local date, where the database that they ask too has another zone."""

    def __init__(self, recorder: Recorder, caller: Caller, connections: Connections, history: History) -> None:
        self._recorder = recorder
        self._caller = caller
        self._connections = connections
        self._history = history

    def look(self) -> None:
        """A test has passed."""
        # Where the local zone is UTC, as on most CI machines, there is nothing to compare.
        if not (time.timezone or time.altzone):
            return
        code = self._caller.test
        if code is None or _ASKS.isdisjoint(code.co_names):
            return
        clock = self.clock()
        elsewhere = [zone for zone in self._connections.time_zones() if _offset(zone) != clock["offset"]]
        dated = self._history.dated(self._recorder.test) if elsewhere else None
        if dated is not None:
            self._recorder.note(
                "local_time", function=self._caller.function(code), clock=clock, zone=elsewhere[0], sql=dated[:160]
            )

    @staticmethod
    def clock() -> Fact:
        """Both dates at this moment, and the seconds between the zones."""
        utc = datetime.now(timezone.utc)
        local = utc.astimezone()
        offset = local.utcoffset()
        return {
            "zone": str(local.tzinfo),
            "offset": offset.total_seconds() if offset is not None else 0.0,
            "local_date": local.date().isoformat(),
            "utc_date": utc.date().isoformat(),
        }


def _offset(zone: str) -> float | None:
    """A zone's seconds from UTC at this moment."""
    offset = datetime.now(ZoneInfo(zone)).utcoffset()
    return offset.total_seconds() if offset is not None else None
