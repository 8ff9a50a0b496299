"""Runs a test again, one rung higher, when the isolation that it got cannot serve it; and tells which rung served."""

from __future__ import annotations

from collections.abc import Collection, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_savepoint.failed_report import add_words, timed_out
from pytest_savepoint.isolation import conflicts
from pytest_savepoint.isolation.ladder import IN_A_LAYER, LEARNED_FILE, Ladder, load_learned, save_learned
from pytest_savepoint.keeping import repeat_and_keep
from pytest_savepoint.observer import sent_past_engines
from pytest_savepoint.worker import Worker

if TYPE_CHECKING:
    from pytest_savepoint.sqlite_worker import SqliteWorker

__all__ = ["Climber", "Learner", "marked_isolation"]

_RUN_TESTS_AGAIN = ("rerunfailures", "flaky")
_PHASES = ("setup", "call", "teardown")
_PASSED = ("passed", "skipped")


def marked_isolation(item: pytest.Item) -> str | None:
    """What the closest marker of a test asks for."""
    marker = item.get_closest_marker("savepoint")
    return str(marker.kwargs["isolation"]) if marker is not None and "isolation" in marker.kwargs else None


def _on_the_ladder(item: pytest.Item) -> tuple[str, str | None, Collection[str]]:
    return item.nodeid, marked_isolation(item), getattr(item, "fixturenames", ())


def _has_layer(item: pytest.Item) -> bool:
    """Data of its module or class are in a transaction that only a savepoint sees."""
    return not IN_A_LAYER.isdisjoint(getattr(item, "fixturenames", ()))


def _all_passed(reports: list[pytest.TestReport]) -> bool:
    return all(report.outcome in _PASSED for report in reports)


class Climber:
    """In a process that runs tests: chooses the rung of each, and repeats one that needs more."""

    def __init__(self, worker: Worker | SqliteWorker, ladder: Ladder, *, keep_failed: bool) -> None:
        """:param keep_failed: repeat a test that failed in a clone of its own, and keep that."""
        self._worker = worker
        self._keep_failed = keep_failed
        self._ladder = ladder
        self.rung = ""
        """The isolation of the test that runs now."""

    def _rung_of(self, item: pytest.Item) -> str:
        if self._worker.keeps_clone:
            return "clone"
        return self._ladder.rung(*_on_the_ladder(item))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if any(self._rung_of(item) == "clone" for item in session.items):
            self._worker.expect_clones()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.rung = self._rung_of(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        if any(item.config.pluginmanager.has_plugin(name) for name in _RUN_TESTS_AGAIN):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reason = ""
        while True:
            conflicts.take_refusals()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            refusals = conflicts.take_refusals() or self._failed_beside(item, reports)
            if not refusals or timed_out(reports) or not self._climbs(item):
                break
            reason = reason or refusals[0]
            self._worker.begin_again()
        passed = _all_passed(reports)
        if passed and self._outgrew_rows(item):
            reason = reason or f"{item.nodeid} left more behind than emptying tables undoes, so its database was made anew"
            reports = self._in_clone(item, nextitem) or reports
        if passed and self._ladder.passed(*_on_the_ladder(item), reason):
            reason = reason or f"The tests before it in its file needed {self.rung}"
        if passed and reason:
            vars(reports[-1]).update(savepoint_climbed=reason, savepoint_isolation=self.rung)
        elif not passed and self._keep_failed and isinstance(self._worker, Worker) and not _has_layer(item):
            repeat_and_keep(item, nextitem, reports, self._worker)
            conflicts.take_refusals()
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _failed_beside(self, item: pytest.Item, reports: list[pytest.TestReport]) -> list[str]:
        """It failed, and has asked the server past the sandbox, where nothing of its own is seen."""
        failed = next((report for report in reports if report.failed), None)
        if failed is None or self.rung != "savepoint":
            return []
        # What is sent later, by a fixture that looks after each test, has no part in the failure.
        until = _PHASES[: _PHASES.index(failed.when or "teardown") + 1]
        if not sent_past_engines(item.config, item.nodeid, until):
            return []
        add_words(failed, "savepoint", str(conflicts.failed_beside(item.nodeid)))
        return conflicts.take_refusals()

    def _outgrew_rows(self, item: pytest.Item) -> bool:
        """It passed with its rows emptied, but a clone would be cheaper."""
        return self._worker.outgrew_rows and not self._ladder.is_learned(item.nodeid) and self._climbs(item)

    def _in_clone(self, item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
        """Its reports there, or none: a test that knows its database by a URL that was read before fails there."""
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        conflicts.take_refusals()
        if _all_passed(reports):
            return reports
        self._ladder.stay(item.nodeid, "rows")
        self.rung = "rows"
        return []

    def _climbs(self, item: pytest.Item) -> bool:
        return not _has_layer(item) and self._ladder.climb(item.nodeid, self.rung, marked=bool(marked_isolation(item)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        if call.when == "teardown":
            report.savepoint_isolation = self.rung
        return report


class Learner:
    """In the process that talks to the user: keeps what was learned."""

    def __init__(self, project: Path, *, relearn: bool) -> None:
        self._project = project
        self._known = load_learned(project)
        self._learned = {} if relearn else dict(self._known)
        self._climbed: dict[str, tuple[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reason = getattr(report, "savepoint_climbed", None)
        if reason is not None:
            rung: str = report.savepoint_isolation
            self._climbed[report.nodeid] = rung, reason
            self._learned[report.nodeid] = rung

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._learned != self._known:
            save_learned(self._project, self._learned)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._climbed:
            return
        terminalreporter.section("savepoint: tests that need more than a savepoint")
        for nodeid, (rung, reason) in sorted(self._climbed.items()):
            terminalreporter.write_line(f"{nodeid}: {rung}\n  {reason}")
        terminalreporter.write_line(f"Commit {LEARNED_FILE}, and they begin there next time.")
