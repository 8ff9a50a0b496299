"""What the project has decided to live with, and why: tests in quarantine, and findings that are silenced."""

from __future__ import annotations

from savepoint_ci.report.headline import plural
from savepoint_ci.report.markup import code, prose
from savepoint_ci.report.model import Report
from savepoint_ci.report.sections.detail import Detail

__all__ = ["tolerated"]


def tolerated(report: Report, detail: Detail) -> str:
    """Return the folded list; tests in quarantine that failed come first."""
    tests = sorted(report.quarantined, key=lambda test: not test.failed)
    lines = [
        f"- {code(test.nodeid)} {'failed' if test.failed else 'passed'}, in quarantine until {code(test.expires)} "
        f"({code(test.owner)}): {prose(test.reason)}"
        for test in tests
    ]
    lines += [
        f"- {code(f'{each.finding.code} {each.finding.cause}')} in {plural(len(each.finding.tests), 'test')} silenced: "
        f"{prose(each.reason)}"
        for each in report.silenced
    ]
    if not lines or not detail.warnings:
        return ""
    shown = lines[: detail.warnings]
    if rest := len(lines) - len(shown):
        shown.append(f"- and {rest:,} more")
    return (
        f"<details><summary>In quarantine or silenced: {len(lines):,}</summary>\n\n"
        + "\n".join(shown)
        + "\n\n</details>"
    )
