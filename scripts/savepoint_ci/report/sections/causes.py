"""What broke, and why: a card per cause with the line to change, then the failures that no cause explains."""

from __future__ import annotations

from collections.abc import Mapping

from savepoint_ci.report.broken import broken_tests
from savepoint_ci.report.headline import plural
from savepoint_ci.report.markup import code, fence, prose, summary_code
from savepoint_ci.report.model import Culprit, Finding, PhaseError, Report, Standing, TestResult
from savepoint_ci.report.reproduce import reproduction
from savepoint_ci.report.sections.detail import Detail

__all__ = ["causes", "failing_tests", "standings", "unexplained"]

_STANDINGS: Mapping[Standing, str] = {
    "new": "new here",
    "known-flaky": "known to be flaky",
    "broken-on-base": "broken on the base branch too",
}
_FIRST: tuple[Standing | None, ...] = ("new", None, "known-flaky", "broken-on-base")
_SURE = 0.5


def standings(report: Report) -> str:
    """Return how many of the failures are news, empty when the history does not say."""
    found = list(_standing_by_test(report).values())
    parts = [f"**{found.count(each)}** {words}" for each, words in _STANDINGS.items() if each in found]
    return f"Of the failures: {', '.join(parts)}." if parts else ""


def causes(report: Report, detail: Detail) -> str:
    """Return a card for each finding; those that broke most tests come first."""
    if not report.findings or not detail.findings:
        return ""
    broken = {test.nodeid: test for test in broken_tests(report)}
    ordered = sorted(report.findings, key=lambda finding: -len(broken.keys() & set(finding.tests)))
    return "\n\n".join(_card(report, finding, broken, detail) for finding in ordered[: detail.findings])


def failing_tests(report: Report, detail: Detail) -> str:
    """Return the failures that no shown finding explains, news first."""
    tests = unexplained(report, detail)
    if not tests or not detail.failures:
        return ""
    known = _standing_by_test(report)
    tests = sorted(tests, key=lambda test: _FIRST.index(known.get(test.nodeid)))
    shown = [_failing_test(test, detail, known.get(test.nodeid)) for test in tests[: detail.failures]]
    title = "#### ❌ Failing, and the cause is not known" if report.findings else "#### What broke"
    command = _command(report, [test.nodeid for test in tests], detail)
    return "\n\n".join(filter(None, [title, _joined(shown), command]))


def unexplained(report: Report, detail: Detail) -> list[TestResult]:
    """Return the broken tests that belong to none of the findings that are shown."""
    explained = {nodeid for finding in report.findings for nodeid in finding.tests} if detail.findings else set()
    return [test for test in broken_tests(report) if test.nodeid not in explained]


def _card(report: Report, finding: Finding, broken: Mapping[str, TestResult], detail: Detail) -> str:
    place = f"Change {_place(finding.culprit)}" if finding.culprit else "There is no single line to change"
    failing = sum(nodeid in broken for nodeid in finding.tests)
    size = (
        f"{plural(failing, 'test')} broke" if failing else f"{plural(len(finding.tests), 'test')}, none broke this time"
    )
    doubt = "" if finding.confidence >= _SURE else " · a guess"
    parts = [
        f"#### {'❌' if failing else '⚠️'} {place}",
        f"{size} · {code(f'{finding.code} {finding.cause}')}{doubt}",
        f"**Why:** {prose(finding.explanation)}" if finding.explanation else "",
        f"**Fix:** {prose(finding.fix)}" if finding.fix else "",
        _command(report, sorted(finding.tests, key=lambda nodeid: nodeid not in broken), detail),
        _folded(finding, broken, detail),
    ]
    return "\n\n".join(filter(None, parts))


def _folded(finding: Finding, broken: Mapping[str, TestResult], detail: Detail) -> str:
    if not detail.tests:
        return ""
    listed = [f"- {code(nodeid)}" for nodeid in finding.tests[: detail.tests]]
    if rest := len(finding.tests) - len(listed):
        listed.append(f"- and {plural(rest, 'test')} more")
    parts = ["\n".join(listed)]
    first = next((broken[nodeid] for nodeid in finding.tests if nodeid in broken), None)
    if first and first.phase_errors:
        parts.append(
            fence(_texts(first.phase_errors), detail.text) if detail.text else code(first.phase_errors[0].message)
        )
    if finding.evidence and detail.text:
        seen = "\n".join(f"- {code(each)}" for each in finding.evidence[: detail.tests])
        parts.append(f"Evidence:\n\n{seen}")
    return "<details><summary>Tests, error and evidence</summary>\n\n" + "\n\n".join(parts) + "\n\n</details>"


def _command(report: Report, nodeids: list[str], detail: Detail) -> str:
    line = reproduction(report, nodeids) if detail.tests else ""
    return fence(line, 2_000, language="sh") if line else ""


def _place(culprit: Culprit) -> str:
    line = f":{culprit.line}" if culprit.line else ""
    name = f" in {code(culprit.name)}" if culprit.name else ""
    return code(f"{culprit.path}{line}") + name


def _standing_by_test(report: Report) -> dict[str, Standing]:
    """The standing of each broken test; one that always passed until now is as new as one that was never seen."""
    if not report.history or not report.history.runs:
        return {}
    known = {test.nodeid: test.standing for test in report.history.tests}
    return {test.nodeid: known.get(test.nodeid) or "new" for test in broken_tests(report)}


def _failing_test(test: TestResult, detail: Detail, standing: Standing | None) -> str:
    note = f" · {_STANDINGS[standing]}" if standing else ""
    if not test.phase_errors:
        return f"- {code(test.nodeid)}{note}"
    first = test.phase_errors[0]
    phases = ", ".join(dict.fromkeys(error.phase for error in test.phase_errors))
    where = "" if phases == "call" else f" ({phases})"
    if not detail.text or not any(error.text for error in test.phase_errors):
        return f"- {code(test.nodeid)}{where}{note}: {code(first.message)}"
    return (
        f"<details><summary>{summary_code(test.nodeid)}{where}{note}: {summary_code(first.message)}</summary>\n\n"
        f"{fence(_texts(test.phase_errors), detail.text)}\n\n</details>"
    )


def _joined(shown: list[str]) -> str:
    """Items of a list without gaps, and folded texts with them."""
    text = ""
    for before, item in zip(["", *shown], shown, strict=False):
        gap = "\n" if before.startswith("- ") and item.startswith("- ") else "\n\n"
        text += f"{gap if text else ''}{item}"
    return text


def _texts(errors: tuple[PhaseError, ...]) -> str:
    return "\n\n".join(error.text or f"{error.phase}: {error.message}" for error in errors)
