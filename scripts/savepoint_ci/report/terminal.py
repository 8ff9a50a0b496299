"""The report as plain text: the last lines that a person at a terminal, or a log, gets to see."""

from __future__ import annotations

from collections.abc import Iterator

from savepoint_ci.report.broken import broken_tests
from savepoint_ci.report.headline import (
    coverage_text,
    database_text,
    duration_text,
    headline,
    patch_text,
    plural,
    ranges_text,
)
from savepoint_ci.report.model import Finding, Growth, Report, Verdict
from savepoint_ci.report.text import clean_block, clean_line, cut

__all__ = ["terminal_summary"]

_FAILURES = 20
_VERDICTS = 50
_TESTS_OF_A_FINDING = 3
_FILES = 10
_TESTS_OF_A_PROCESS = 3
_MUCH, _MANY = 256 * 2**20, 10


def terminal_summary(report: Report) -> str:
    """Return the summary, findings first and the verdict last, where the eye is when a run ends."""
    lines = [
        *_failure(report),
        *(line for finding in report.findings for line in _finding(finding)),
        *_failing_tests(report),
        *(line for verdict in report.verdicts[:_VERDICTS] for line in _verdict(verdict)),
        *_tolerated(report),
        *(f"warning: {cut(clean_line(warning), 500)}" for warning in report.warnings[:10]),
        *(line for growth in report.growth for line in _growth(growth)),
        *_coverage(report),
        *_ledger(report),
        f"{'✓' if report.result == 'green' else '✗'} {headline(report)}",
    ]
    # GitHub's runner takes `##[name]` for a command wherever it stands in a log, and `::name::` at a line's beginning;
    # foreign text never stands there.
    return "\n".join(lines).replace("##[", "## [") + "\n"


def _failure(report: Report) -> Iterator[str]:
    if report.failure:
        yield f"The step {report.failure.step} failed:"
        yield from (f"  | {line}" for line in clean_block(report.failure.message).split("\n"))


def _finding(finding: Finding) -> Iterator[str]:
    where = ""
    if culprit := finding.culprit:
        line = f":{culprit.line}" if culprit.line else ""
        where = f"  {clean_line(culprit.path)}{line} {clean_line(culprit.name)}".rstrip()
    yield f"{finding.code} {finding.cause}{where}"
    yield f"  Why: {clean_line(finding.explanation)}"
    if finding.fix:
        yield f"  Fix: {clean_line(finding.fix)}"
    for nodeid in finding.tests[:_TESTS_OF_A_FINDING]:
        yield f"  - {clean_line(nodeid)}"
    if len(finding.tests) > _TESTS_OF_A_FINDING:
        yield f"  - and {plural(len(finding.tests) - _TESTS_OF_A_FINDING, 'test')} more"


def _failing_tests(report: Report) -> Iterator[str]:
    broken = [test for test in broken_tests(report) if test.phase_errors]
    for test in broken[:_FAILURES]:
        for error in test.phase_errors:
            phase = "" if error.phase == "call" else f" ({error.phase})"
            place = f"  {clean_line(error.path)}:{error.line}" if error.path and error.line else ""
            yield f"{test.outcome.upper()} {clean_line(test.nodeid)}{phase}{place}"
            yield f"  | {cut(clean_line(error.message), 300)}"
        if test.kept:
            became = "passed" if test.kept.passed else "failed"
            yield f"  repeated in a database that was kept, where it {became}: {clean_line(test.kept.command)}"
    if len(broken) > _FAILURES:
        yield f"and {plural(len(broken) - _FAILURES, 'test')} more that failed"


def _verdict(verdict: Verdict) -> Iterator[str]:
    yield f"{verdict.verdict.upper()} {clean_line(verdict.nodeid)}: {clean_line(verdict.explanation)}"
    if verdict.command:
        how = "reproduced by" if verdict.reproduced else "try"
        yield f"  {how}: {clean_line(verdict.command)}"


def _tolerated(report: Report) -> Iterator[str]:
    for test in report.quarantined:
        if test.failed:
            reason = f"{clean_line(test.owner)}: {clean_line(test.reason)}"
            yield f"in quarantine until {clean_line(test.expires)}: {clean_line(test.nodeid)} failed ({reason})"
    for each in report.silenced:
        yield f"silenced: {each.finding.code} {each.finding.cause} ({clean_line(each.reason)})"


def _coverage(report: Report) -> Iterator[str]:
    if not report.coverage:
        return
    patch = report.coverage.diff
    changed = f", changed lines {patch_text(patch)}" if patch else ""
    yield f"coverage {coverage_text(report.coverage)}{changed}"
    for file in patch.files[:_FILES] if patch else ():
        yield f"  - {clean_line(file.path)}: {ranges_text(file.uncovered)} not covered"


def _growth(growth: Growth) -> Iterator[str]:
    """What a process added up over the suite, where that is much, or was asked for."""
    size = growth.last.bytes - growth.first.bytes
    tasks, connections = growth.last.tasks - growth.first.tasks, growth.last.connections - growth.first.connections
    if size >= _MUCH or max(tasks, connections) >= _MANY or growth.allocated:
        cycles = growth.last.cycles - growth.first.cycles
        yield (
            f"{clean_line(growth.worker)} grew by {_megabytes(size)}, {tasks:+} tasks and {connections:+} connections; "
            f"{cycles} objects were freed by the garbage collector only"
        )
        for test in growth.tests[:_TESTS_OF_A_PROCESS]:
            added = f"{_megabytes(test.bytes)}, {test.tasks:+} tasks, {test.connections:+} connections, {test.cycles} in cycles"
            yield f"  - {added}: {clean_line(test.test)}"
        for line in growth.allocated[:_TESTS_OF_A_PROCESS]:
            yield f"  - {_megabytes(line.bytes)} allocated at {clean_line(line.path)}:{line.line}"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:+.1f} MiB"


def _ledger(report: Report) -> Iterator[str]:
    parts = [database_text(report.database)] if report.database else []
    if report.run.workers:
        parts.append(plural(report.run.workers, "worker"))
    if report.timing:
        parts.append(duration_text(sum(report.timing.values())))
    if parts:
        yield clean_line(" · ".join(parts))
