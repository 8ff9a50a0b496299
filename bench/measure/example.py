"""The example shop's suite with Savepoint, and with fixtures written by hand after the usual guides."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

from measure.machine import BENCH, PYTEST, Machine
from measure.tables import Samples, ratio, table

__all__ = ["Example"]

_SHOP = BENCH.parent / "examples" / "shop"
_SAVEPOINT, _BY_HAND = "Savepoint", "by hand"
_PLUGIN = {_SAVEPOINT: "pytest_savepoint.plugin", _BY_HAND: "handwritten_fixtures"}
_WORKERS = (0, 2)


class Example:
    """Seconds of the whole suite, by the clock and of processors, server included."""

    title = "The example shop's suite"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._environ = {
            "BENCH_SERVER_URL": machine.server_url,
            "SAVEPOINT_SERVER_URL": machine.server_url,
            "PYTHONPATH": str(BENCH / "handwritten"),
        }
        self._tests = machine.scratch / "tests"
        self._count = self._choose_tests()
        self._wall, self._cpu = Samples(), Samples()

    def _choose_tests(self) -> int:
        """Both run the tests that the fixtures written by hand can serve."""
        listed = subprocess.run(
            [sys.executable, *PYTEST, "--collect-only", "-p", _PLUGIN[_BY_HAND]],
            cwd=_SHOP, env=self._machine.environ(self._environ), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        nodeids = [line for line in listed.splitlines() if "::" in line]
        self._tests.write_text("\n".join(nodeids))
        return len(nodeids)

    def measure_once(self) -> None:
        for workers, who in product(_WORKERS, _PLUGIN):
            seconds = self._machine.run(
                [*PYTEST, "-p", _PLUGIN[who], "-n", str(workers), f"@{self._tests}"],
                folder=_SHOP,
                environ=self._environ,
            )
            self._wall.add(f"{workers} {who}", seconds["end"] - seconds["start"])
            self._cpu.add(f"{workers} {who}", seconds["total_cpu"])

    def shown(self) -> str:
        rows = []
        for workers, who in product(_WORKERS, _PLUGIN):
            case, hand = f"{workers} {who}", f"{workers} {_BY_HAND}"
            cells = [f"{self._count} tests, -n {workers}, {who}"]
            for samples in (self._wall, self._cpu):
                cells += [f"{samples.median(case):.2f}", f"{samples.least(case):.2f}",
                          ratio(samples.median(case), samples.median(hand))]
            rows.append(cells)
        return table(["case", "wall s, median", "least", "ratio", "CPU s, median", "least", "ratio"], rows)
