"""Texts that try to be more than text, and reports that are full of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from report_samples import SAMPLES
from savepoint_ci.report.model import Culprit, Report, TestResult

TRICKS = (
    "@octocat",
    "a@b.example",
    "#123",
    "octocat/Hello-World#1",
    "GH-12",
    "3f2a91c7d5e04b8891aa6f0c2d7be4f15a9c0e63",
    "https://evil.example/x",
    "www.evil.example",
    "[text](https://evil.example)",
    "![image](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "</code></summary></details><script>alert(1)</script>",
    "<!-- savepoint:default -->",
    "-->",
    "`", "``", "```", "````\n", "~~~",
    "`a` @octocat `b",
    "*bold* _it_ ~~gone~~",
    "# heading", "\n# heading\n", "\n- item", "\n> quote", "1. one", "| a | b |\n| - | - |",
    "&lt;b&gt;", "&#64;octocat", "\\`", "\\",
    "\n\n</details>\n\n", "\n::error::boo", "::warning file=a,line=1::x", "%0A::error::x", "::stop-commands::x",
    ":tada:", "$x^2$", "$`x`$", "[^1]", "\x1b[31mred", "\x00", "\u202egnp", "\ud800", "\r", "\u2028", "]]>", "\x1b]8;;x\x07",
)
hostile = st.lists(st.sampled_from(TRICKS) | st.text(max_size=30) | st.characters(), max_size=8).map(
    "".join
) | st.lists(st.sampled_from(TRICKS), max_size=6).map(" ".join)


@st.composite
def hostile_reports(draw: st.DrawFn, repeat: int = 1) -> Report:
    """A failing run in which every free text is hostile, some of them repeated into length."""
    long = st.tuples(hostile, st.integers(1, repeat)).map(lambda pair: (pair[0] * pair[1])[:60_000])
    line = long.map(lambda text: text[:4_000])
    sample = draw(st.sampled_from(sorted(SAMPLES)))
    report = SAMPLES[sample]
    return replace(
        report,
        run=replace(report.run, id=draw(line), commit=draw(line), ref=draw(line), python=draw(line)),
        tests=tuple(_hostile_test(draw, test, line, long) for test in report.tests[-draw(st.integers(1, 6)) :]),
        findings=tuple(
            replace(
                finding,
                tests=(draw(line), *finding.tests),
                culprit=draw(st.none() | st.builds(Culprit, path=line, line=st.none() | st.just(3), name=line)),
                explanation=draw(long),
                fix=draw(long),
            )
            for finding in report.findings[:3]
        ),
        coverage=report.coverage
        and replace(
            report.coverage,
            files=tuple(replace(file, path=draw(line)) for file in report.coverage.files),
            diff=report.coverage.diff
            and replace(
                report.coverage.diff,
                files=tuple(replace(file, path=draw(line)) for file in report.coverage.diff.files),
            ),
        ),
        database=report.database
        and replace(report.database, provider=draw(line), version=draw(line), reason=draw(line)),
        failure=report.failure and replace(report.failure, message=draw(long)),
        warnings=tuple(draw(st.lists(long, max_size=3))),
    )


def _hostile_test(draw: st.DrawFn, test: TestResult, line: st.SearchStrategy, long: st.SearchStrategy) -> TestResult:
    errors = tuple(
        replace(error, message=draw(line), text=draw(long), path=draw(st.none() | line)) for error in test.phase_errors
    )
    return replace(test, nodeid=draw(line), worker=draw(line), phase_errors=errors) if errors else test
