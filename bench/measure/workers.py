"""What the workers of xdist take until they have run a few tests, forked and each started by itself."""

from __future__ import annotations

from measure.machine import BENCH, PYTEST, Machine
from measure.tables import Samples, ratio, table

__all__ = ["Workers"]

_SHOP = BENCH.parent / "examples" / "shop"
# So few and so short that a run is start-up; every worker imports the whole application for them.
_TESTS = "tests/schemas"
_ALONE = "-n 0"
_CASES = {
    _ALONE: ("0", "auto"),
    "-n 4, forked": ("4", "auto"),
    "-n 4, each started by itself": ("4", "spawn"),
}


class Workers:
    """Seconds of a whole run of a few tests that need no database, by the clock and of processors."""

    title = "Start of four workers"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._wall, self._cpu = Samples(), Samples()

    def measure_once(self) -> None:
        for case, (workers, how) in _CASES.items():
            seconds = self._machine.run(
                [*PYTEST, "-p", "pytest_savepoint.plugin", "-n", workers, "--savepoint-worker-start", how, _TESTS],
                folder=_SHOP,
                environ={"SAVEPOINT_SERVER_URL": self._machine.server_url},
            )
            self._wall.add(case, seconds["end"] - seconds["start"])
            self._cpu.add(case, seconds["total_cpu"])

    def shown(self) -> str:
        rows = []
        for case in _CASES:
            cells = [case]
            for samples in (self._wall, self._cpu):
                cells += [f"{samples.median(case):.2f}", f"{samples.least(case):.2f}",
                          ratio(samples.median(case), samples.median(_ALONE))]
            rows.append(cells)
        return table(["case", "wall s, median", "least", "ratio", "CPU s, median", "least", "ratio"], rows)
