"""The report as JUnit XML, for the tools that read nothing else."""

from __future__ import annotations

from functools import lru_cache
from html import escape  # that of xml.sax loads a client of HTTP and TLS

from savepoint_ci.report.model import Report, TestResult
from savepoint_ci.report.text import clean_block, clean_line

__all__ = ["junit_xml"]

_NOT_PASSED = {"failed": "failure", "error": "error", "not_run": "error", "skipped": "skipped", "xfailed": "skipped"}


def junit_xml(report: Report) -> bytes:
    """Return a JUnit file that says of every test what the report says; a test that did not run is an error."""
    counts = report.counts
    attributes = _attributes(
        name="savepoint",
        tests=str(len(report.tests)),
        failures=str(counts.get("failed", 0)),
        errors=str(sum(1 for test in report.tests if test.outcome in ("error", "not_run"))),
        skipped=str(counts.get("skipped", 0) + counts.get("xfailed", 0)),
        time=f"{sum(test.duration for test in report.tests):.3f}",
        timestamp=clean_line(report.run.started),
    )
    # Not by ElementTree: for 100,000 tests it takes longer than all that is read and merged of them.
    parts = [f"<?xml version='1.0' encoding='utf-8'?>\n<testsuites><testsuite{attributes}>"]
    parts += map(_case, report.tests)
    parts.append("</testsuite></testsuites>\n")
    return "\n".join(parts).encode()


def _case(test: TestResult) -> str:
    where, _, name = test.nodeid.partition("::")
    scope, _, name = name.rpartition("::") if "[" not in name else _split_before_parameters(name)
    named = _attributes(name=clean_line(name) or clean_line(where))
    opened = f'<testcase{_place(where, scope)}{named} time="{test.duration:.3f}"'
    kind = _NOT_PASSED.get(test.outcome)
    if kind is None:
        return f"{opened}/>"
    messages = [f"{error.phase}: {clean_line(error.message)}" for error in test.phase_errors]
    message = _attributes(message="; ".join(messages) or test.outcome.replace("_", " "))
    text = escape("\n\n".join(clean_block(error.text) for error in test.phase_errors if error.text), quote=False)
    return f"{opened}><{kind}{message}>{text}</{kind}></testcase>"


@lru_cache(maxsize=1_000)
def _place(where: str, scope: str) -> str:
    classname = ".".join(filter(None, (where.removesuffix(".py").replace("/", "."), scope.replace("::", "."))))
    return _attributes(classname=clean_line(classname), file=clean_line(where))


def _attributes(**texts: str) -> str:
    return "".join(f' {name}="{escape(text)}"' for name, text in texts.items())


def _split_before_parameters(name: str) -> tuple[str, str, str]:
    function, bracket, parameters = name.partition("[")
    scope, colons, function = function.rpartition("::")
    return scope, colons, function + bracket + parameters
