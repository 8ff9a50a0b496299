"""Say what the run came to, as an exit code; the last step of a job."""

from __future__ import annotations

from pytest_savepoint.errors import ExitCode

from savepoint_ci.invocation import Invocation
from savepoint_ci.report.model import Report, ReportError, parse_report

__all__ = ["read_report", "verdict"]


def verdict(invocation: Invocation) -> ExitCode:
    """The exit code of the report that was written.

    :raises ReportError: when there is none, or it is broken.
    """
    return read_report(invocation).exit_code


def read_report(invocation: Invocation) -> Report:
    """The report that the report step wrote.

    :raises ReportError: when there is none, or it is broken.
    """
    path = invocation.report_folder / "report.json"
    if not path.exists():
        raise ReportError(f"There is no {path}. Run `savepoint report` first, with the same project and report folder.")
    return parse_report(path.read_bytes())
