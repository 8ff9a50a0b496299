"""The report as JUnit XML, for the tools that read nothing else."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from savepoint_ci.report.model import Report, TestResult
from savepoint_ci.report.text import clean_block, clean_line

__all__ = ["junit_xml"]

_NOT_PASSED = {"failed": "failure", "error": "error", "not_run": "error", "skipped": "skipped", "xfailed": "skipped"}


def junit_xml(report: Report) -> bytes:
    """Return a JUnit file that says of every test what the report says; a test that did not run is an error."""
    counts = report.counts
    attributes = {
        "name": "savepoint",
        "tests": str(len(report.tests)),
        "failures": str(counts.get("failed", 0)),
        "errors": str(sum(1 for test in report.tests if test.outcome in ("error", "not_run"))),
        "skipped": str(counts.get("skipped", 0) + counts.get("xfailed", 0)),
        "time": f"{sum(test.duration for test in report.tests):.3f}",
        "timestamp": clean_line(report.run.started),
    }
    suites = ET.Element("testsuites")
    suite = ET.SubElement(suites, "testsuite", attributes)
    for test in report.tests:
        _add_case(suite, test)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add_case(suite: ET.Element, test: TestResult) -> None:
    where, _, name = test.nodeid.partition("::")
    scope, _, name = name.rpartition("::") if "[" not in name else _split_before_parameters(name)
    classname = ".".join(filter(None, (where.removesuffix(".py").replace("/", "."), scope.replace("::", "."))))
    case = ET.SubElement(
        suite,
        "testcase",
        {
            "classname": clean_line(classname),
            "name": clean_line(name) or clean_line(where),
            "time": f"{test.duration:.3f}",
            "file": clean_line(where),
        },
    )
    kind = _NOT_PASSED.get(test.outcome)
    if kind is None:
        return
    messages = [f"{error.phase}: {clean_line(error.message)}" for error in test.phase_errors]
    outcome = ET.SubElement(case, kind, {"message": "; ".join(messages) or test.outcome.replace("_", " ")})
    outcome.text = "\n\n".join(clean_block(error.text) for error in test.phase_errors if error.text)


def _split_before_parameters(name: str) -> tuple[str, str, str]:
    function, bracket, parameters = name.partition("[")
    scope, colons, function = function.rpartition("::")
    return scope, colons, function + bracket + parameters
