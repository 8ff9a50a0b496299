"""Lines that count as covered although no steady test runs them; known when coverage.py recorded contexts."""

from __future__ import annotations

from msgspec.structs import replace

from savepoint_ci.report.model import Coverage, FileLines, Report
from savepoint_ci.report.sections.unsteady import unsteady_tests

__all__ = ["with_only_flaky"]


def with_only_flaky(report: Report) -> Report:
    """Return the report with the lines in it that only flaky tests run."""
    coverage = report.coverage
    if coverage is None or not coverage.tests:
        return report
    return replace(report, coverage=replace(coverage, only_flaky=_lines(coverage, set(unsteady_tests(report)))))


def _lines(coverage: Coverage, flaky: set[str]) -> tuple[FileLines, ...]:
    places = {place for place, nodeid in enumerate(coverage.tests) if nodeid in flaky}
    files = (
        FileLines(
            path=file.path,
            ranges=tuple(
                (stretch.first, stretch.last)
                for stretch in file.touched
                if stretch.total == len(stretch.tests) and places.issuperset(stretch.tests)
            ),
        )
        for file in coverage.files
    )
    return tuple(file for file in files if file.ranges)
