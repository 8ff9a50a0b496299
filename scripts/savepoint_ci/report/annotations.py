"""Workflow commands that mark lines in the pull request: causes first, then failing lines of every phase.

A composite action keeps the first ten errors and ten warnings of all its steps together, so they are spent on what
explains most, and the rest is named as a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from savepoint_ci.report.broken import broken_tests
from savepoint_ci.report.headline import plural
from savepoint_ci.report.model import Finding, Report
from savepoint_ci.report.paths import workspace_path
from savepoint_ci.report.text import clean_block, clean_line, cut

if TYPE_CHECKING:
    from pytest_savepoint.diagnosis import Finding as DoctorFinding

__all__ = ["annotation_commands", "finding_command", "warning_command"]

_BUDGET = 10
_MESSAGE_LIMIT = 3_000


@dataclass(frozen=True)
class _Mark:
    level: Literal["error", "warning"]
    title: str
    message: str
    path: str | None
    line: int | None


def annotation_commands(report: Report, *, project: str = "") -> list[str]:
    """Return workflow commands, one line each; print them while commands are not stopped.

    :param project: the project's folder, relative to the workspace, because paths in the report are relative to it.
    """
    marks = [*_causes(report), *_failing_lines(report)]
    commands = []
    for level in ("error", "warning"):
        of_level = [mark for mark in marks if mark.level == level]
        commands += [_command(mark, project) for mark in of_level[:_BUDGET]]
        if (rest := len(of_level) - _BUDGET) > 0:
            commands.append(f"::notice title=Savepoint::{plural(rest, level)} more: see the job summary.")
    return commands


def finding_command(finding: DoctorFinding, *, project: str = "") -> str:
    """Return the workflow command of one finding that no test run stands behind."""
    culprit = finding.culprit
    place = (culprit.path, culprit.line) if culprit else (None, None)
    message = f"{finding.explanation}\nFix: {finding.fix}"
    return _command(_Mark("warning", f"{finding.code} {finding.cause}", message, *place), project)


def warning_command(message: str) -> str:
    """Return the workflow command of a warning that belongs to no line."""
    return _command(_Mark("warning", "Savepoint", message, None, None), "")


def _causes(report: Report) -> Iterator[_Mark]:
    if report.failure:
        yield _Mark("error", f"The step {report.failure.step} failed", report.failure.message, None, None)
    for gate in report.gates:
        if not gate.passed:
            actual = "unknown" if gate.actual is None else f"{gate.actual:.2f} %"
            yield _Mark("error", f"{gate.name} gate", f"{actual}; {gate.wanted:g} % is wanted.", None, None)
    broken = {test.nodeid for test in broken_tests(report)}
    for finding in report.findings:
        culprit = finding.culprit
        yield _Mark(
            "error" if broken.intersection(finding.tests) else "warning",
            f"{finding.code} {finding.cause}",
            _finding_message(finding),
            culprit.path if culprit else None,
            culprit.line if culprit else None,
        )


def _finding_message(finding: Finding) -> str:
    tests = "\n".join(finding.tests[:5]) + ("\n…" if len(finding.tests) > 5 else "")
    return f"{finding.explanation}\nFix: {finding.fix}\n{tests}"


def _failing_lines(report: Report) -> Iterator[_Mark]:
    explained = {nodeid for finding in report.findings for nodeid in finding.tests}
    for test in sorted(broken_tests(report), key=lambda test: test.nodeid in explained):
        for error in test.phase_errors:
            yield _Mark("error", f"{test.nodeid} ({error.phase})", error.message, error.path, error.line)


def _command(mark: _Mark, project: str) -> str:
    properties = {}
    path = workspace_path(mark.path, project)
    if path:
        properties["file"] = path
        if mark.line:
            properties["line"] = str(mark.line)
    properties["title"] = cut(clean_line(mark.title), 200)
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    message = cut(clean_block(mark.message), _MESSAGE_LIMIT) or properties["title"]
    return f"::{mark.level} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
