"""The sentences that every rendering shares: what the run came to, its coverage, and where its database came from."""

from __future__ import annotations

import math
from collections.abc import Iterable

from savepoint_ci.report.model import Coverage, Database, PatchCoverage, Report, Template

__all__ = [
    "change_text",
    "coverage_text",
    "database_text",
    "duration_text",
    "headline",
    "patch_text",
    "percent",
    "plural",
    "ranges_text",
    "template_text",
]


def headline(report: Report) -> str:
    """Return the verdict in one line, without foreign text."""
    counts = report.counts
    match report.result:
        case "green":
            text = f"{_ran(report)} passed{_aside(report)}"
        case "gate":
            failed = ", ".join(
                f"{gate.name.replace('-', ' ')} "
                + (f"{percent(gate.actual)} is below {gate.wanted:g} %" if gate.actual is not None else "is unknown")
                for gate in report.gates
                if not gate.passed
            )
            text = f"{_ran(report)} passed, but {failed}"
        case "database":
            ran = counts.get("total", 0) - counts.get("not_run", 0)
            text = f"no test ran: the database was not ready ({_step(report)} failed)"
            if ran:
                text = f"the database was lost while {plural(ran, 'test')} ran"
        case "error":
            text = f"no result: the step {_step(report)} failed"
        case "interrupted":
            text = f"interrupted: {counts.get('not_run', 0):,} of {plural(counts.get('total', 0), 'test')} did not run"
        case _:
            text = _broken(report)
    return text[0].upper() + text[1:]


def coverage_text(coverage: Coverage) -> str:
    """Return total and branch coverage, such as `91.4 % (branches 88 %)`."""
    branches = f" (branches {percent(coverage.branches)})" if coverage.branches is not None else ""
    return f"{percent(coverage.total)}{branches}"


def change_text(report: Report) -> str:
    """Return how the total coverage moved, such as `0.3 points above`; empty when the history does not say."""
    before = report.history.coverage if report.history else None
    if before is None or report.coverage is None:
        return ""
    change = round(report.coverage.total - before, 1)
    if not change:
        return "the same as"
    return f"{abs(change):.1f} points {'above' if change > 0 else 'below'}"


def patch_text(patch: PatchCoverage) -> str:
    """Return the coverage of the changed lines, such as `85.7 % (12 of 14)`."""
    if not patch.changed:
        return "none to cover"
    return f"{percent(patch.percent)} ({patch.covered} of {patch.changed})"


def database_text(database: Database) -> str:
    """Return server, provider and template in a few words; version and provider are foreign text."""
    server = f"PostgreSQL {database.version} ({database.provider})"
    words = "SQLite in memory" if database.provider == "sqlite" else server
    if database.template is None:
        return words
    return f"{words} · template {template_text(database.template)}"


def template_text(template: Template) -> str:
    """Return how the template came to be there."""
    if template.hit:
        return "reused"
    return f"{'restored' if template.restored else 'built'} in {duration_text(template.seconds)}"


def percent(value: float) -> str:
    """Return a percentage rounded down, so that 99.99 is never shown as 100."""
    return f"{math.floor(value * 10) / 10:g} %"


def duration_text(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:,.0f} min {seconds % 60:.0f} s"


def plural(number: int, noun: str) -> str:
    """Return `1 test`, `2 tests`, `1,000 tests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ranges_text(ranges: Iterable[tuple[int, int]], limit: int = 20) -> str:
    """Return line ranges such as `4, 7–9`; beyond the limit their number."""
    ranges = tuple(ranges)
    shown = ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in ranges[:limit])
    return shown + (f" and {len(ranges) - limit} more" if len(ranges) > limit else "")


def _broken(report: Report) -> str:
    counts = report.counts
    parts = [
        f"{counts.get('failed', 0):,} failed" if counts.get("failed") else "",
        plural(counts.get("error", 0), "error") if counts.get("error") else "",
        f"{counts.get('not_run', 0):,} not run" if counts.get("not_run") else "",
    ]
    said = ", ".join(filter(None, parts))
    if said:
        return f"{said} of {plural(counts.get('total', 0), 'test')}"
    return "pytest failed although no test did" if counts.get("total") else "no tests were found"


def _ran(report: Report) -> str:
    passed = report.counts.get("passed", 0) + report.counts.get("xpassed", 0) + report.counts.get("xfailed", 0)
    return plural(passed, "test")


def _aside(report: Report) -> str:
    skipped = report.counts.get("skipped", 0)
    excused = sum(test.failed for test in report.quarantined)
    return (f", {skipped:,} skipped" if skipped else "") + (f", {excused:,} in quarantine failed" if excused else "")


def _step(report: Report) -> str:
    return report.failure.step if report.failure else "a step"
