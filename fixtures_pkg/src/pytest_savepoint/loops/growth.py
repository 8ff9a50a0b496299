"""What the process holds after each test, and which tests made it hold more or left garbage in cycles."""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import sys
from collections.abc import Callable

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.allocations import Allocations
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.patches import harmless

if sys.platform != "win32":
    import resource

__all__ = ["Growth"]

_WORTH_NOTING = 2**20
_CYCLES_WORTH_NOTING = 1_000
_KEPT = 10


class Growth:
    """Sees after each test whether the memory's peak has moved, and counts tasks, connections and garbage in cycles.

    :param tasks: counts the caller's living tasks.
    :param connections: counts living database connections.
    """

    def __init__(self, recorder: Recorder, tasks: Callable[[], int], connections: Callable[[], int]) -> None:
        self._recorder = recorder
        self._tasks = tasks
        self._connections = connections
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
        self._file: int | None = None
        self._first: tuple[int, int, int, int] | None = None
        self._last = (0, 0, 0, 0)
        self._collected: dict[str, object] = {}  # what the garbage collector said last, until the next look
        self._peak = 0
        self._allocations: Allocations | None = None
        self._grown: list[tuple[int, int, str, int, int, int]] = []  # bytes, number, test, tasks, connections, cycles
        self._number = 0

    def start(self) -> None:
        # To ask the collector after each test costs more than all other looks together. A callback written in Python would
        # let other threads run in the middle of whatever allocates; what builds a syntax tree in Python 3.11 fails for it.
        gc.callbacks.append(self._collected.__setitem__)
        if os.path.exists("/proc/self/statm"):  # noqa: PTH110 # Linux; elsewhere only tasks and connections count
            self._file = os.open("/proc/self/statm", os.O_RDONLY)

    def trace(self, caller: Caller) -> None:
        """Trace allocations from now on."""
        self._allocations = Allocations(caller)

    def stop(self) -> None:
        with contextlib.suppress(ValueError):  # the suite may have cleared them
            gc.callbacks.remove(self._collected.__setitem__)
        if self._allocations is not None:
            self._allocations.stop()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def look(self) -> None:
        """A test is over."""
        resident = self._resident() if self._has_risen() else self._last[0]
        freed = self._last[3]
        if self._collected:
            self._collected.clear()
            freed = _freed_from_cycles()
        now = resident, self._tasks(), self._connections(), freed
        last, self._last = self._last, now
        held = now[0] - last[0] < _WORTH_NOTING and now[1] <= last[1] and now[2] <= last[2]
        if held and now[3] - last[3] < _CYCLES_WORTH_NOTING:
            return
        if self._first is None:
            # The first one imports and connects what all the others use.
            self._first = now
            if self._allocations is not None:
                self._allocations.begin()
        else:
            self._number += 1
            test = self._recorder.test
            entry = now[0] - last[0], self._number, test, now[1] - last[1], now[2] - last[2], now[3] - last[3]
            (heapq.heappush if len(self._grown) < _KEPT else heapq.heappushpop)(self._grown, entry)

    def _has_risen(self) -> bool:
        """Whether this test moved the process's peak; much cheaper to ask for than what is resident now."""
        if self._file is None:
            return False
        before, self._peak = self._peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (self._peak - before) * 1024 >= _WORTH_NOTING

    def _resident(self) -> int:
        # One open file for all tests: the kernel writes the numbers anew for each read.
        return int(os.pread(self._file, 64, 0).split()[1]) * self._page if self._file is not None else 0

    @harmless
    def note(self) -> None:
        """Record what the suite added up to, and the tests that added most."""
        if self._first is None:
            return
        self._last = self._resident(), *self._last[1:]
        tests: list[Fact] = [
            {"test": test, "bytes": size, "tasks": tasks, "connections": connections, "cycles": cycles}
            for size, _, test, tasks, connections, cycles in sorted(self._grown, reverse=True)
        ]
        names = ("bytes", "tasks", "connections", "cycles")
        self._recorder.note(
            "growth",
            first=dict(zip(names, self._first, strict=True)),
            last=dict(zip(names, self._last, strict=True)),
            tests=tests,
            allocated=self._allocations.grown() if self._allocations is not None else [],
        )


def _freed_from_cycles() -> int:
    """How many objects only the garbage collector could free so far."""
    return sum(generation["collected"] for generation in gc.get_stats())
