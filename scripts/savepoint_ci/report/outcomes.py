"""The phases of one test -> its outcome. A test passes only when its set-up, call and teardown all did."""

from __future__ import annotations

from typing import get_args

from savepoint_ci.report.model import Kept, Outcome, PhaseError, Queries, TestResult, TimedPhase

__all__ = ["TestRecord"]

_LONGEST = 10_000_000.0


class TestRecord:
    """The phases of one test as they arrive; sub-tests and reruns bring several calls under one node id.

    :param nodeid: pytest's name of the test, or of the file that could not be collected.
    """

    __test__ = False

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._worker = "main"
        self.start: float | None = None
        self._durations: dict[str, float] = {}
        self._last: dict[str, Outcome] = {}
        self._errors: list[PhaseError] = []
        self._crash: PhaseError | None = None
        self._isolation = ""
        self._load: float | None = None
        self._queries: Queries | None = None
        self._kept: Kept | None = None

    def add(
        self,
        when: str,
        outcome: str,
        *,
        worker: str,
        start: float | None,
        duration: float,
        xfail: bool,
        error: PhaseError | None,
        isolation: str = "",
        load: float | None = None,
        queries: Queries | None = None,
        kept: Kept | None = None,
    ) -> None:
        """Take one phase; `outcome` and `xfail` as pytest reports them, `error` when the phase failed.

        :param start: in seconds since the epoch, None when it is not known.
        :param isolation: how the test was undone, where it was.
        :param load: of the machine when the phase was over; comes with the last one.
        :param queries: what it asked of the database; comes with its last phase.
        :param kept: the database that was kept of it; comes with its first failure.
        """
        self._kept = kept or self._kept
        self._queries = queries or self._queries
        self._worker = worker
        self._load = load
        self._isolation = isolation or self._isolation
        if self.start is None:
            self.start = start
        # A test's own call comes after its sub-tests and lasts as long as all of them together.
        self._durations[when] = duration
        if error:
            self._errors.append(error)
        if outcome == "rerun":
            self._last.pop(when, None)
        elif xfail:
            self._last[when] = "xpassed" if outcome == "passed" else "xfailed"
        else:
            self._last[when] = "passed" if outcome == "passed" else "skipped" if outcome == "skipped" else "failed"

    def crash(self, worker: str, message: str) -> None:
        """The worker died while it ran this test."""
        self._worker = worker
        self._crash = PhaseError(phase="crash", message=message)

    def result(self, first: float | None = None) -> TestResult:
        """What became of the test.

        :param first: when the run's first test started, in seconds since the epoch.
        """
        started = None if self.start is None or first is None else min(round(self.start - first, 6), _LONGEST)
        phases: dict[TimedPhase, float] = {
            name: self._durations[name] for name in get_args(TimedPhase) if name in self._durations
        }
        return TestResult(
            nodeid=self._nodeid,
            outcome=self._outcome(),
            duration=round(sum(self._durations.values()), 6),
            worker=self._worker,
            phase_errors=tuple(self._all_errors()[:1_000]),
            started=started,
            phases=phases,
            isolation=self._isolation or None,
            load=self._load,
            queries=self._queries,
            kept=self._kept,
        )

    def _all_errors(self) -> list[PhaseError]:
        if self._crash is None:
            return self._errors
        # pytest-xdist reports the crash as a failed call too; it is the same fact.
        return [self._crash, *(error for error in self._errors if "crashed while running" not in error.message)]

    def _outcome(self) -> Outcome:
        failed = {error.phase for error in self._errors}
        if self._crash or failed - {"call"}:
            return "error"
        if failed:
            return "failed"
        if "collect" in self._last:
            return self._last["collect"]
        if self._last.get("setup") in ("skipped", "xfailed"):
            return self._last["setup"]
        if "teardown" not in self._last:
            return "not_run"
        return self._last.get("call", "not_run")
