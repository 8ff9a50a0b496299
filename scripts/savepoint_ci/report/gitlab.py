"""Findings and failing lines as GitLab's Code Quality report, which shows them beside the lines of a merge request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from savepoint_ci.report.broken import broken_tests
from savepoint_ci.report.model import Report
from savepoint_ci.report.paths import workspace_path
from savepoint_ci.report.text import clean_line, cut

__all__ = ["code_quality"]


def code_quality(report: Report, *, project: str = "") -> str:
    """Return the Code Quality file; what has no line in the repository is left out, since GitLab refuses it.

    :param project: the project's folder, relative to the repository.
    """
    return json.dumps(list(_issues(report, project)), indent=2) + "\n"


def _issues(report: Report, project: str) -> Iterator[dict[str, Any]]:
    tests = broken_tests(report)
    broken = {test.nodeid for test in tests}
    for finding in report.findings:
        path = workspace_path(finding.culprit.path, project) if finding.culprit else None
        if finding.culprit and path:
            severity = "minor" if broken.isdisjoint(finding.tests) else "major"
            text = f"{finding.explanation} Fix: {finding.fix}" if finding.fix else finding.explanation
            name = f"{finding.code} {finding.cause}"
            yield _issue(name, text, severity, path, finding.culprit.line, same=(name, path, finding.culprit.name))
    for test in tests:
        for error in test.phase_errors:
            if path := workspace_path(error.path, project):
                text = f"{test.nodeid} ({error.phase}): {error.message}"
                yield _issue("test", text, "major", path, error.line, same=(test.nodeid, error.phase, path))


def _issue(
    name: str, text: str, severity: str, path: str, line: int | None, *, same: tuple[str, ...]
) -> dict[str, Any]:
    """One issue; `same` is what two runs have in common when it is the same issue, wherever its line has moved."""
    return {
        "description": cut(clean_line(text), 1_000) or name,
        "check_name": name,
        "fingerprint": hashlib.sha256("\0".join(same).encode("utf-8", "replace")).hexdigest(),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": line or 1}},
    }
