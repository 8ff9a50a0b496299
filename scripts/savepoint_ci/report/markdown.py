"""The report as Markdown, for the pull-request comment and the job summary; nothing is read or written here.

A text that would be too long loses detail in the order of least worth, and says what it left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from savepoint_ci.report.headline import (
    coverage_text,
    database_text,
    duration_text,
    headline,
    patch_text,
    percent,
    plural,
    ranges_text,
)
from savepoint_ci.report.markup import code, fence, prose, summary_code
from savepoint_ci.report.model import Coverage, Culprit, Finding, Report, TestResult

__all__ = ["COMMENT_BYTES", "SUMMARY_BYTES", "comment_body", "comment_marker", "job_summary"]

COMMENT_BYTES = 60_000
"""GitHub refuses a comment beyond 65,536 characters; a limit in bytes is the stricter one."""

SUMMARY_BYTES = 900_000
"""GitHub drops a job summary beyond 1 MiB."""


@dataclass(frozen=True)
class _Detail:
    """How much of each kind is shown."""

    text: int
    failures: int
    findings: int
    tests: int
    files: int
    warnings: int


# From everything to the bare verdict; long texts go first, names of causes last.
_LADDER = (
    _Detail(text=8_000, failures=500, findings=100, tests=50, files=300, warnings=50),
    _Detail(text=3_000, failures=50, findings=50, tests=20, files=50, warnings=20),
    _Detail(text=1_500, failures=30, findings=30, tests=10, files=20, warnings=10),
    _Detail(text=600, failures=30, findings=30, tests=5, files=10, warnings=5),
    _Detail(text=0, failures=30, findings=20, tests=3, files=5, warnings=3),
    _Detail(text=0, failures=10, findings=5, tests=1, files=3, warnings=1),
    _Detail(text=0, failures=0, findings=3, tests=0, files=0, warnings=0),
    _Detail(text=0, failures=0, findings=0, tests=0, files=0, warnings=0),
)


def comment_marker(key: str) -> str:
    """Return the hidden first line by which a comment is found again.

    :param key: tells the comments of several jobs on one pull request apart; any text.
    """
    slug = re.sub(r"[^A-Za-z0-9._/]+", "-", key).strip("-") or "default"
    if slug != key or len(slug) > 100:
        slug = f"{slug[:80].rstrip('-')}-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"<!-- savepoint:{slug} -->"


def comment_body(report: Report, *, key: str = "default", run_url: str = "", limit: int = COMMENT_BYTES) -> str:
    """Return the body of the pull-request comment, shorter than `limit` bytes of UTF-8.

    :param run_url: the page of the run that made the report, from our own environment.
    """
    return comment_marker(key) + "\n" + _fitting(report, run_url, limit - 200, all_files=False)


def job_summary(report: Report, *, limit: int = SUMMARY_BYTES) -> str:
    """Return the job summary, with every file that is not fully covered, shorter than `limit` bytes of UTF-8."""
    return _fitting(report, "", limit, all_files=True)


def _fitting(report: Report, run_url: str, limit: int, *, all_files: bool) -> str:
    text = ""
    for detail in _LADDER:
        text = "\n\n".join(filter(None, _sections(report, detail, run_url, all_files=all_files))) + "\n"
        if len(text.encode()) < limit:
            return text
    return text.encode()[: limit - 1].decode("utf-8", "ignore")


def _sections(report: Report, detail: _Detail, run_url: str, *, all_files: bool) -> Iterator[str]:
    yield f"### {'✅' if report.result == 'green' else '❌'} {headline(report)}"
    yield _failure(report, detail)
    yield _findings(report, detail)
    yield _failures(report, detail)
    yield _coverage(report, detail, all_files=all_files)
    yield _warnings(report, detail)
    yield _ledger(report, run_url)
    yield _left_out(report, detail)


def _failure(report: Report, detail: _Detail) -> str:
    if not report.failure:
        return ""
    return fence(report.failure.message, max(detail.text, 500))


def _findings(report: Report, detail: _Detail) -> str:
    if not report.findings or not detail.findings:
        return ""
    broken = {test.nodeid: test for test in _broken(report)}
    cards = [_card(finding, broken, detail) for finding in report.findings[: detail.findings]]
    return "\n\n".join(["#### What broke, and why" if report.result == "tests-failed" else "#### Found", *cards])


def _card(finding: Finding, broken: Mapping[str, TestResult], detail: _Detail) -> str:
    where = f" at {_place(finding.culprit)}" if finding.culprit else ""
    parts = [
        f"**{finding.code}** {code(finding.cause)}{where} ({plural(len(finding.tests), 'test')})",
        f"_Why_: {prose(finding.explanation)}" if finding.explanation else "",
        f"_Fix_: {prose(finding.fix)}" if finding.fix else "",
        _test_list(finding, detail.tests),
        next((_failing_test(broken[nodeid], detail) for nodeid in finding.tests if nodeid in broken), ""),
    ]
    return "\n\n".join(filter(None, parts))


def _test_list(finding: Finding, limit: int) -> str:
    if not limit:
        return ""
    lines = [f"- {code(nodeid)}" for nodeid in finding.tests[:limit]]
    if rest := len(finding.tests) - len(lines):
        lines.append(f"- and {plural(rest, 'test')} more")
    return "\n".join(lines)


def _place(culprit: Culprit) -> str:
    line = f":{culprit.line}" if culprit.line else ""
    name = f" {code(culprit.name)}" if culprit.name else ""
    return code(f"{culprit.path}{line}") + name


def _failures(report: Report, detail: _Detail) -> str:
    unexplained = _unexplained(report, detail)
    if not unexplained or not detail.failures:
        return ""
    shown = "\n\n".join(_failing_test(test, detail) for test in unexplained[: detail.failures])
    return f"#### Failing tests\n\n{shown}"


def _broken(report: Report) -> list[TestResult]:
    return [test for test in report.tests if test.outcome in ("failed", "error")]


def _unexplained(report: Report, detail: _Detail) -> list[TestResult]:
    explained = {nodeid for finding in report.findings[: detail.findings] for nodeid in finding.tests}
    return [test for test in _broken(report) if test.nodeid not in explained]


def _failing_test(test: TestResult, detail: _Detail) -> str:
    if not test.phase_errors:
        return f"- {code(test.nodeid)}"
    phases = ", ".join(error.phase for error in test.phase_errors[:5])
    message = test.phase_errors[0].message
    if not detail.text or not any(error.text for error in test.phase_errors):
        return f"- {code(test.nodeid)} ({phases}): {code(message)}"
    text = "\n\n".join(error.text or f"{error.phase}: {error.message}" for error in test.phase_errors)
    return (
        f"<details><summary>{summary_code(test.nodeid)} ({phases}): {summary_code(message)}</summary>\n\n"
        f"{fence(text, detail.text)}\n\n</details>"
    )


def _coverage(report: Report, detail: _Detail, *, all_files: bool) -> str:
    coverage = report.coverage
    if not coverage:
        return ""
    changed = f" · changed lines **{patch_text(coverage.diff)}**" if coverage.diff else ""
    line = f"Coverage **{coverage_text(coverage)}**{changed}"
    files = _files(coverage, detail) if all_files else ""
    return "\n\n".join(filter(None, [line, _uncovered_patch(coverage, detail), files]))


def _uncovered_patch(coverage: Coverage, detail: _Detail) -> str:
    uncovered = [file for file in coverage.diff.files if file.uncovered] if coverage.diff else []
    if not uncovered or not detail.files:
        return ""
    lines = [f"- {code(file.path)}: {ranges_text(file.uncovered)}" for file in uncovered[: detail.files]]
    if rest := len(uncovered) - len(lines):
        lines.append(f"- and {plural(rest, 'file')} more")
    return "Changed lines that no test runs:\n\n" + "\n".join(lines)


def _files(coverage: Coverage, detail: _Detail) -> str:
    partly = sorted((file for file in coverage.files if file.percent < 100), key=lambda file: file.percent)
    if not partly or not detail.files:
        return ""
    lines = [
        f"- {code(file.path)} {percent(file.percent)}" + (f": {ranges_text(file.missing)}" if file.missing else "")
        for file in partly[: detail.files]
    ]
    return (
        f"<details><summary>{plural(len(partly), 'file')} not fully covered</summary>\n\n"
        + "\n".join(lines)
        + "\n\n</details>"
    )


def _warnings(report: Report, detail: _Detail) -> str:
    return "\n".join(f"- ⚠️ {prose(warning)}" for warning in report.warnings[: detail.warnings])


def _ledger(report: Report, run_url: str) -> str:
    parts = []
    if report.database:
        parts.append(prose(database_text(report.database)))
    if report.run.python:
        parts.append(f"Python {prose(report.run.python, 40)}")
    if report.run.workers:
        parts.append(plural(report.run.workers, "worker"))
    if report.timing:
        parts.append(duration_text(sum(report.timing.values())))
    if report.run.commit:
        parts.append(code(report.run.commit[:9]))
    if run_url:
        parts.append(f"[run]({run_url})")
    return f"_{' · '.join(parts)}_" if parts else ""


def _left_out(report: Report, detail: _Detail) -> str:
    rest = {
        "finding": len(report.findings) - detail.findings,
        "failing test": len(_unexplained(report, detail)) - detail.failures,
        "warning": len(report.warnings) - detail.warnings,
    }
    parts = [plural(number, noun) for noun, number in rest.items() if number > 0]
    if not detail.text and any(error.text for test in report.tests for error in test.phase_errors):
        parts.append("the texts of failures")
    return f"Left out for length: {', '.join(parts)}. report.json has all of it." if parts else ""
