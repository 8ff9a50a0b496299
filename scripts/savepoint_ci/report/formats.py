"""The forms in which a report can be printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from savepoint_ci.report.annotations import annotation_commands
from savepoint_ci.report.gitlab import code_quality
from savepoint_ci.report.markdown import job_summary
from savepoint_ci.report.model import Report, report_json
from savepoint_ci.report.terminal import terminal_summary

__all__ = ["FORMATS", "printed"]

FORMATS: Mapping[str, Callable[[Report, str], str]] = {
    "text": lambda report, _: terminal_summary(report),
    "json": lambda report, _: report_json(report).decode(),
    "markdown": lambda report, _: job_summary(report),
    "github": lambda report, project: "".join(f"{line}\n" for line in annotation_commands(report, project=project)),
    "gitlab": lambda report, project: code_quality(report, project=project),
}


def printed(report: Report, form: str, *, project: str = "") -> str:
    """Return the report in one of the `FORMATS`.

    :param project: the project's folder, relative to the repository, for the forms that name files in it.
    """
    return FORMATS[form](report, project)
