"""The command that shows a failure again, for a person to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from savepoint_ci.report.model import Report
from savepoint_ci.report.text import clean_line

__all__ = ["reproduction"]

_TESTS = 3
_LENGTH = 1_500


def reproduction(report: Report, nodeids: Iterable[str]) -> str:
    """Return one shell line that runs these tests again, empty when no safe one exists.

    What a rerun proved to work wins over the plain call, which draws the run's random numbers again.

    :param nodeids: the tests, the most telling first; three of them are called.
    """
    nodeids = list(nodeids)
    proved = {verdict.nodeid: verdict.command for verdict in report.verdicts if verdict.command}
    for nodeid in nodeids:
        if nodeid in proved and _is_one_plain_line(proved[nodeid]):
            return proved[nodeid]
    # A name with a line break or a control character would be another name, or another command, once it is pasted.
    called = [each for each in nodeids if _is_one_plain_line(each) and not each.startswith("-")]
    line = ""
    program = "pytest" if report.run.seed is None else f"pytest --randomly-seed={report.run.seed}"
    for nodeid in called[:_TESTS]:
        longer = f"{line or program} {shlex.quote(nodeid)}"
        if len(longer) > _LENGTH:
            break
        line = longer
    return line


def _is_one_plain_line(text: str) -> bool:
    return bool(text) and clean_line(text) == text
