"""Texts that try to be more than text, and reports that are full of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import strategies as st
from msgspec.structs import replace
from report_samples import SAMPLES
from savepoint_ci.report.model import Coverage, Report, TestResult

TRICKS = (
    "@octocat",
    "a@b.example",
    "#123",
    "octocat/Hello-World#1",
    "GH-12",
    "3f2a91c7d5e04b8891aa6f0c2d7be4f15a9c0e63",
    "deadbeef",
    "https://evil.example/x",
    "www.evil.example",
    "www.",
    "[text](https://evil.example)",
    "![image](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "</code></summary></details><script>alert(1)</script>",
    "<!-- savepoint:default -->",
    "-->",
    "`",
    "``",
    "```",
    "````\n",
    "~~~",
    "`a` @octocat `b",
    "*bold* _it_ ~~gone~~",
    "# heading",
    "\n# heading\n",
    "\n- item",
    "\n> quote",
    "1. one",
    "| a | b |\n| - | - |",
    "&lt;b&gt;",
    "&#64;octocat",
    "\\`",
    "\\",
    "\n\n</details>\n\n",
    "\n::error::boo",
    "::warning file=a,line=1::x",
    "a,b:c%d",
    "##[error]x",
    "%0A::error::x",
    "::stop-commands::x",
    ":tada:",
    "$x^2$",
    "$`x`$",
    "[^1]",
    "\x1b[31mred",
    "\x00",
    "\u202egnp",
    "\ud800",
    "\r",
    "\u2028",
    "]]>",
    "\x1b]8;;x\x07",
)
hostile = st.lists(st.sampled_from(TRICKS) | st.text(max_size=30) | st.characters(), max_size=8).map(
    "".join
) | st.lists(st.sampled_from(TRICKS), max_size=6).map(" ".join)


def filled_with(text: str) -> Report:
    """A failing run with flaky tests and a history, in which every free text is this one."""
    report = replace(
        SAMPLES["findings"],
        verdicts=SAMPLES["order_dependent"].verdicts,
        history=SAMPLES["known_failures"].history,
        failure=SAMPLES["database"].failure,
        quarantined=SAMPLES["green_with_quarantine"].quarantined,
        silenced=SAMPLES["green_with_quarantine"].silenced,
    )
    report = replace(report, coverage=SAMPLES["green_with_less_coverage"].coverage)
    return _replace_texts(replace(report, tests=report.tests[-6:]), lambda: text, lambda: text)


@st.composite
def hostile_reports(draw: st.DrawFn, repeat: int = 1) -> Report:
    """A run in which every free text is hostile, some of them repeated into length."""
    long = st.tuples(hostile, st.integers(1, repeat)).map(lambda pair: (pair[0] * pair[1])[:60_000])
    # A few texts take turns: to draw one for each place took longer than all that is tested with them.
    texts = itertools.cycle(draw(st.lists(long, min_size=1, max_size=7)))
    report = SAMPLES[draw(st.sampled_from(sorted(SAMPLES.keys() - {"huge"})))]
    shorter = replace(report, tests=report.tests[-draw(st.integers(1, 6)) :], findings=report.findings[:3])
    return _replace_texts(shorter, lambda: next(texts)[:4_000], lambda: next(texts))


def _replace_texts(report: Report, line: Callable[[], str], long: Callable[[], str]) -> Report:
    return replace(
        report,
        run=replace(report.run, id=line(), commit=line(), ref=line(), python=line()),
        tests=tuple(_replace_texts_of_test(test, line, long) if test.phase_errors else test for test in report.tests),
        findings=tuple(
            replace(
                finding,
                tests=(line(), *finding.tests),
                culprit=finding.culprit and replace(finding.culprit, path=line(), name=line()),
                explanation=long(),
                fix=long(),
                evidence=(long(), line()),
            )
            for finding in report.findings
        ),
        verdicts=tuple(replace(verdict, nodeid=line(), polluter=line(), command=line()) for verdict in report.verdicts),
        history=report.history
        and replace(
            report.history,
            base=line(),
            tests=tuple(replace(test, nodeid=line()) for test in report.history.tests),
        ),
        coverage=report.coverage and _replace_texts_of_coverage(report.coverage, line),
        database=report.database
        and replace(
            report.database,
            provider=line(),
            version=line(),
            reason=line(),
            template=report.database.template and replace(report.database.template, fingerprint=line(), source=line()),
        ),
        failure=report.failure and replace(report.failure, message=long()),
        quarantined=tuple(
            replace(test, nodeid=f"other {line()}", reason=line(), owner=line(), expires=line())
            for test in report.quarantined
        ),
        silenced=tuple(replace(each, reason=line()) for each in report.silenced),
        warnings=(long(), line()),
    )


def _replace_texts_of_coverage(coverage: Coverage, line: Callable[[], str]) -> Coverage:
    patch = coverage.diff
    return replace(
        coverage,
        files=tuple(replace(file, path=line()) for file in coverage.files),
        diff=patch and replace(patch, files=tuple(replace(file, path=line()) for file in patch.files)),
        only_flaky=tuple(replace(file, path=line()) for file in coverage.only_flaky),
    )


def _replace_texts_of_test(test: TestResult, line: Callable[[], str], long: Callable[[], str]) -> TestResult:
    errors = tuple(replace(error, message=line(), text=long(), path=line()) for error in test.phase_errors)
    return replace(test, nodeid=line(), worker=line(), phase_errors=errors)
