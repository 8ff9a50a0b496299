"""How long a person waits for the first test: with everything to be made, and on the second run."""

from __future__ import annotations

import shutil

from measure.machine import BENCH, PYTEST, Machine
from measure.tables import Samples, ratio, table

__all__ = ["Start"]

_SHOP = BENCH.parent / "examples" / "shop"
# It asks for no database, so that it runs without one; with Savepoint everything is ready before it.
_TEST = "tests/schemas"
_PLAIN = "plain pytest, no database"
_COLD = "Savepoint, cold: no cache, no server"
_WARM = "Savepoint, warm: the second run"


class Start:
    """Seconds from the start of pytest to its first test, in the example shop."""

    title = "From start to first test"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seconds = Samples()

    def measure_once(self) -> None:
        cache = self._machine.scratch / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        for case, plugin in (
            (_PLAIN, "no:savepoint"),
            (_COLD, "pytest_savepoint.plugin"),
            (_WARM, "pytest_savepoint.plugin"),
        ):
            seconds = self._machine.run(
                [*PYTEST, "-p", "measure.clock", "-p", plugin, _TEST],
                folder=_SHOP,
                environ={"SAVEPOINT_CACHE": str(cache)},
            )
            self._seconds.add(case, seconds["first_test"] - seconds["start"])

    def shown(self) -> str:
        plain = self._seconds.median(_PLAIN), self._seconds.least(_PLAIN)
        rows = []
        for case in (_PLAIN, _COLD, _WARM):
            median, least = self._seconds.median(case), self._seconds.least(case)
            rows.append([case, f"{median:.2f}", f"{least:.2f}", f"{median - plain[0]:+.2f}", f"{least - plain[1]:+.2f}",
                         ratio(median, plain[0])])
        heads = ["case", "seconds, median", "least", "over plain, median", "by the least", "ratio"]
        return table(heads, rows)
