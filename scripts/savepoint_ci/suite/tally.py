"""The evidence file, followed while pytest writes it: how many tests are done, which ones failed, what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from savepoint_ci.report.evidence import Collected, Crash, Finished, PhaseLine, Started, Stuck, read_evidence
from savepoint_ci.report.text import clean_line, cut

__all__ = ["Tally"]


class Tally:
    """What the evidence says so far.

    :param evidence: the file; it may not exist yet.
    :param clock: seconds, for the time left.
    """

    def __init__(self, evidence: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = 0
        self.done = 0
        self.failures: list[str] = []
        self.running: dict[str, str] = {}
        """The test that each worker has begun and not ended."""
        self.pids: dict[str, int] = {}
        self.waiting: dict[str, list[str]] = {}
        """Where the tasks of a worker wait, when it was asked."""
        self.last_news = clock()
        self.finished: int | None = None
        """pytest's exit code as it was when all tests were done; its process may live on."""
        self._evidence = evidence
        self._offset = 0
        self._failed: set[str] = set()
        self._clock = clock
        self._first: float | None = None

    def update(self) -> None:
        """Read what was written since the last time."""
        try:
            with self._evidence.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return
        # The last line may be half written still.
        complete = new[: new.rfind(b"\n") + 1]
        self._offset += len(complete)
        for record in read_evidence(complete.decode("utf-8", "replace").splitlines()):
            if not isinstance(record, Stuck | Finished):
                self.last_news = self._clock()
            match record:
                case Collected(total=total):
                    self.total = max(self.total, total)
                case Started(nodeid=nodeid, worker=worker, pid=pid):
                    self.running[worker], self.pids[worker] = nodeid, pid
                case Stuck(worker=worker, tasks=tasks):
                    self.waiting[worker] = tasks
                case PhaseLine():
                    self._add(record)
                case Finished(exit=code):
                    self.finished = code
                case Crash(worker=worker, nodeid=nodeid) if nodeid:
                    self.running.pop(worker, None)
                    self.pids.pop(worker, None)
                    self.done += 1
                    self._fail(nodeid, f"worker {worker} died")

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest needs at the pace so far; None while nothing is known."""
        if self._first is None or self.done < 2:
            return None
        # The first test is left out: it waits for the workers to start.
        return (self._clock() - self._first) / (self.done - 1) * max(self.total - self.done, 0)

    def _add(self, phase: PhaseLine) -> None:
        if phase.when == "teardown":
            self.done += 1
            self.running.pop(phase.worker, None)
            self._first = self._first or self._clock()
        if phase.outcome == "failed" and not phase.xfail:
            where = "" if phase.when == "call" else f"{phase.when}: "
            self._fail(phase.nodeid, where + phase.message)

    def _fail(self, nodeid: str, message: str) -> None:
        if nodeid not in self._failed:
            self._failed.add(nodeid)
            self.failures.append(cut(clean_line(f"{nodeid} - {message}"), 300))
