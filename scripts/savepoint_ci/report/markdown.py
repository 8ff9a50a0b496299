"""The report as Markdown, for the pull-request comment and the job summary; nothing is read or written here.

A text that would be too long loses detail in the order of least worth, and says what it left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from savepoint_ci.report.headline import headline, plural
from savepoint_ci.report.markup import fence, prose
from savepoint_ci.report.model import Report
from savepoint_ci.report.sections.causes import causes, failing_tests, standings, unexplained
from savepoint_ci.report.sections.covered import covered
from savepoint_ci.report.sections.detail import LADDER, Detail
from savepoint_ci.report.sections.ledger import last_line, ledger
from savepoint_ci.report.sections.tolerated import tolerated
from savepoint_ci.report.sections.unsteady import unsteady, unsteady_tests

__all__ = ["COMMENT_BYTES", "SUMMARY_BYTES", "comment_body", "comment_marker", "job_summary"]

COMMENT_BYTES = 60_000
"""GitHub refuses a comment beyond 65,536 characters; a limit in bytes is the stricter one."""

SUMMARY_BYTES = 900_000
"""GitHub drops a job summary beyond 1 MiB."""


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
    return comment_marker(key) + "\n" + _fitting(report, run_url, limit - 200, is_summary=False)


def job_summary(report: Report, *, limit: int = SUMMARY_BYTES) -> str:
    """Return the job summary, with every file that is not fully covered, shorter than `limit` bytes of UTF-8."""
    return _fitting(report, "", limit, is_summary=True)


def _fitting(report: Report, run_url: str, limit: int, *, is_summary: bool) -> str:
    text = ""
    for detail in LADDER:
        text = "\n\n".join(filter(None, _sections(report, detail, run_url, is_summary=is_summary))) + "\n"
        if len(text.encode()) < limit:
            return text
    return text.encode()[: limit - 1].decode("utf-8", "ignore")


def _sections(report: Report, detail: Detail, run_url: str, *, is_summary: bool) -> Iterator[str]:
    yield f"### {'✅' if report.result == 'green' else '❌'} {headline(report)}"
    yield "\n".join(
        f"- ⚠️ Shard {shard.name} left no report; its {plural(shard.not_run, 'test')} did not run."
        for shard in report.shards
        if shard.result == "lost"
    )
    yield standings(report)
    yield fence(report.failure.message, max(detail.text, 500)) if report.failure else ""
    yield causes(report, detail)
    yield failing_tests(report, detail)
    yield unsteady(report, detail)
    yield tolerated(report, detail)
    yield covered(report, detail, all_files=is_summary)
    yield "\n".join(f"- ⚠️ {prose(warning)}" for warning in report.warnings[: detail.warnings])
    # A mail program unfolds everything, so a comment that has nothing to say carries no folded detail either.
    if detail.ledger and (is_summary or not _is_quiet(report)):
        yield ledger(report)
    yield last_line(report, run_url)
    yield _left_out(report, detail)


def _is_quiet(report: Report) -> bool:
    return report.result == "green" and not (report.findings or report.warnings or unsteady_tests(report))


def _left_out(report: Report, detail: Detail) -> str:
    rest = {
        "finding": len(report.findings) - detail.findings,
        "failing test": len(unexplained(report, detail)) - detail.failures,
        "flaky test": len(unsteady_tests(report)) - detail.unsteady,
        "warning": len(report.warnings) - detail.warnings,
    }
    parts = [plural(number, noun) for noun, number in rest.items() if number > 0]
    if not detail.text and any(error.text for test in report.tests for error in test.phase_errors):
        parts.append("the texts of failures")
    return f"Left out for length: {', '.join(parts)}. report.html and report.json have all of it." if parts else ""
