"""What always-on evidence costs: the same tests with it and without it."""

from __future__ import annotations

from measure.machine import BENCH, PYTEST, Machine
from measure.tables import Samples, table

__all__ = ["Evidence"]

_SHOP = BENCH.parent / "examples" / "shop"
_EMPTY_TESTS = 2000
_WITH, _WITHOUT = "with evidence", "without"
_EMPTY, _EXAMPLE = "an empty test", "a test of the example shop"


class Evidence:
    """Processor time per test, of the process and the server, after the first thirty tests."""

    title = "Cost of evidence"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._empty = machine.scratch / "empty"
        self._empty.mkdir()
        (self._empty / "pytest.ini").write_text("[pytest]\n")
        tests = "\n\n".join(f"def test_{number}():\n    pass" for number in range(_EMPTY_TESTS))
        (self._empty / "test_empty.py").write_text(f"{tests}\n")
        self._cpu = Samples()

    def measure_once(self) -> None:
        for who in (_WITH, _WITHOUT):
            without = ["-p", "measure.unwatched"] if who == _WITHOUT else []
            command = [*PYTEST, *without, "-p", "pytest_savepoint.plugin", "-p", "measure.clock"]
            empty = self._machine.run(
                [*command, "--savepoint-isolation", "none", "-p", "no:randomly"], folder=self._empty, environ={}
            )
            self._cpu.add(f"{_EMPTY} {who}", empty["cpu"])
            environ = {"SAVEPOINT_SERVER_URL": self._machine.server_url}
            example = self._machine.run([*command, "-n", "0"], folder=_SHOP, environ=environ)
            self._cpu.add(f"{_EXAMPLE} {who}", example["cpu"])

    def shown(self) -> str:
        rows = []
        for case in (_EMPTY, _EXAMPLE):
            watched, plain = f"{case} {_WITH}", f"{case} {_WITHOUT}"
            median = self._cpu.median(watched) - self._cpu.median(plain)
            least = self._cpu.least(watched) - self._cpu.least(plain)
            rows.append(
                [
                    case,
                    *(f"{1e6 * self._cpu.median(each):.0f}" for each in (plain, watched)),
                    f"{1e6 * median:.0f}",
                    f"{1e6 * least:.0f}",
                    f"{100 * least / self._cpu.least(plain):.1f} %",
                ]
            )
        return table(["case", "µs without", "µs with", "difference, medians", "of least values", "share"], rows)
