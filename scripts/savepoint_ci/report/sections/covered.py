"""Coverage: the total and its change, the changed lines that nothing runs, and those that only flaky tests run."""

from __future__ import annotations

from collections.abc import Sequence

from savepoint_ci.report.headline import change_text, coverage_text, patch_text, percent, plural, ranges_text
from savepoint_ci.report.markup import code
from savepoint_ci.report.model import Coverage, Ranges, Report
from savepoint_ci.report.sections.detail import Detail

__all__ = ["covered"]


def covered(report: Report, detail: Detail, *, all_files: bool) -> str:
    """Return the section on coverage, empty when nothing was measured.

    :param all_files: also list every file that is not fully covered.
    """
    coverage = report.coverage
    if not coverage:
        return ""
    line = f"Coverage **{coverage_text(coverage)}**"
    if change := change_text(report):
        base = f" {code(report.history.base[:9])}" if report.history and report.history.base else ""
        line += f", {change} the merge base{base}"
    if coverage.diff:
        line += f" · changed lines **{patch_text(coverage.diff)}**"
    uncovered = [
        (file.path, file.uncovered) for file in (coverage.diff.files if coverage.diff else ()) if file.uncovered
    ]
    only_flaky = [(file.path, file.ranges) for file in coverage.only_flaky]
    parts = [
        line,
        _lines("Changed lines that no test runs:", uncovered, detail),
        _lines("Lines that only flaky tests run:", only_flaky, detail),
        _files(coverage, detail) if all_files else "",
    ]
    return "\n\n".join(filter(None, parts))


def _lines(title: str, files: Sequence[tuple[str, Ranges]], detail: Detail) -> str:
    if not files or not detail.files:
        return ""
    lines = [f"- {code(path)}: {code(ranges_text(ranges))}" for path, ranges in files[: detail.files]]
    if rest := len(files) - len(lines):
        lines.append(f"- and {plural(rest, 'file')} more")
    return f"{title}\n\n" + "\n".join(lines)


def _files(coverage: Coverage, detail: Detail) -> str:
    partly = sorted((file for file in coverage.files if file.percent < 100), key=lambda file: file.percent)
    if not partly or not detail.files:
        return ""
    lines = [
        f"- {code(file.path)} {percent(file.percent)}"
        + (f": {code(ranges_text(file.missing))}" if file.missing else "")
        for file in partly[: detail.files]
    ]
    return (
        f"<details><summary>{plural(len(partly), 'file')} not fully covered</summary>\n\n"
        + "\n".join(lines)
        + "\n\n</details>"
    )
