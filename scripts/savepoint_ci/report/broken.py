"""Which tests count against a run."""

from __future__ import annotations

from savepoint_ci.report.model import Report, TestResult

__all__ = ["broken_tests"]


def broken_tests(report: Report) -> list[TestResult]:
    """Return the tests that failed, in whatever phase, without those in quarantine."""
    excused = {test.nodeid for test in report.quarantined}
    return [test for test in report.tests if test.outcome in ("failed", "error") and test.nodeid not in excused]
