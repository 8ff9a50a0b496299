"""Flaky tests, with how often each fails, whether that grows, and what it depends on."""

from __future__ import annotations

from savepoint_ci.report.broken import broken_tests
from savepoint_ci.report.headline import plural
from savepoint_ci.report.markup import code
from savepoint_ci.report.model import Report, TestHistory, Verdict
from savepoint_ci.report.reproduce import reproduction
from savepoint_ci.report.sections.detail import Detail

__all__ = ["trend", "unsteady", "unsteady_tests"]

_SHOWN_RUNS = 20


def unsteady_tests(report: Report) -> list[str]:
    """Return the tests that fail at one time and pass at another, by reruns of this run or by history."""
    verdicts = [verdict.nodeid for verdict in report.verdicts if verdict.verdict != "broken"]
    known = report.history.tests if report.history else ()
    return list(dict.fromkeys([*verdicts, *(test.nodeid for test in known if test.standing == "known-flaky")]))


def unsteady(report: Report, detail: Detail) -> str:
    """Return the flaky tests, one line each."""
    tests = unsteady_tests(report)
    if not tests or not detail.unsteady:
        return ""
    verdicts = {verdict.nodeid: verdict for verdict in report.verdicts}
    known = {test.nodeid: test for test in (report.history.tests if report.history else ())}
    lines = [_line(report, nodeid, verdicts.get(nodeid), known.get(nodeid)) for nodeid in tests[: detail.unsteady]]
    if rest := len(tests) - len(lines):
        lines.append(f"- and {plural(rest, 'test')} more")
    listed = "\n".join(lines)
    broken = {test.nodeid for test in broken_tests(report)}
    if verdicts or broken.intersection(tests):
        return f"#### Flaky tests\n\n{listed}"
    title = f"{plural(len(tests), 'test')} known to be flaky passed this time"
    return f"<details><summary>{title}</summary>\n\n{listed}\n\n</details>"


def trend(test: TestHistory) -> str:
    """Return `more often lately`, `less often lately` or nothing, from the halves of the recent runs."""
    runs = test.recent.replace("s", "")
    if len(runs) < 6:
        return ""
    half = len(runs) // 2
    before, after = runs[:half].count("F") / half, runs[half:].count("F") / (len(runs) - half)
    if after > before:
        return "more often lately"
    return "less often lately" if after < before else ""


def _line(report: Report, nodeid: str, verdict: Verdict | None, known: TestHistory | None) -> str:
    parts = [f"- {code(nodeid)}"]
    if verdict and verdict.runs:
        parts.append(f"{_rate(verdict.failures, verdict.runs)} when run again{_interval(verdict)}")
    if known and known.runs:
        parts.append(f"{_rate(known.failures, known.runs)} on the base branch")
    if known and known.recent:
        parts.append(code(known.recent[-_SHOWN_RUNS:].replace(".", "✓").replace("F", "✗").replace("s", "·")))
    if known and trend(known):
        parts.append(f"**{trend(known)}**")
    if verdict and verdict.verdict != "flaky":
        parts.append(f"**{verdict.verdict}**")
    if verdict and verdict.polluter:
        parts.append(f"because of {code(verdict.polluter)}")
    line = " · ".join(parts)
    # A test that a card explains has its command there.
    is_explained = any(nodeid in finding.tests for finding in report.findings)
    command = reproduction(report, [nodeid]) if verdict and verdict.command and not is_explained else ""
    return f"{line}\n  {code(command, 1_000)}" if command else line


def _rate(failures: int, runs: int) -> str:
    return f"fails {failures:,} of {runs:,} ({min(100 * failures / runs, 100):.0f} %)"


def _interval(verdict: Verdict) -> str:
    if not verdict.interval:
        return ""
    low, high = verdict.interval
    return f", likely {low:.0f}–{high:.0f} %"
