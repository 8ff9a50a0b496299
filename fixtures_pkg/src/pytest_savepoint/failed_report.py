"""What we put on pytest's report of a failure, and ask of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from _pytest._code.code import ExceptionRepr

__all__ = ["KEPT", "add_words", "timed_out"]

KEPT = "savepoint_kept"
"""The attribute of a report that describes the database in which its test was repeated."""

_TIMED_OUT = " from pytest-timeout."


def timed_out(reports: Sequence[pytest.TestReport]) -> bool:
    """A test's timer has run out, and a repetition that hangs too would never end."""
    return any(report.failed and _TIMED_OUT in report.longreprtext for report in reports)


def add_words(failed: pytest.TestReport, title: str, text: str) -> None:
    """Say something about a failure under it."""
    if isinstance(failed.longrepr, ExceptionRepr):
        # Beside the traceback, so that it is seen whatever of the output is shown.
        failed.longrepr.addsection(title, text)
    else:
        failed.sections.append((title, text))
