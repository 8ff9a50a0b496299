"""Where the history is during a run: fetched into the job's own state, or on a laptop beside the last report."""

from __future__ import annotations

from pathlib import Path

from savepoint_ci.github.event import Event, EventError, read_event
from savepoint_ci.history.fetch import HISTORY_FILE
from savepoint_ci.history.model import History, HistoryError, extend, history_bytes, parse_history
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.model import Report

__all__ = ["fetched_file", "known_history", "write_history"]

_WHOLE = ("green", "tests-failed", "gate")


def fetched_file(invocation: Invocation) -> Path:
    """Where a job keeps the history that it fetched; the workspace may hold what a pull request brought."""
    return invocation.state.folder / HISTORY_FILE


def known_history(invocation: Invocation) -> History | None:
    """The history in force for this run; None when there is none, or it cannot be read."""
    if not invocation.settings.history:
        return None
    file = fetched_file(invocation) if _is_job(invocation) else invocation.report_folder / HISTORY_FILE
    try:
        return parse_history(file.read_bytes())
    except (OSError, HistoryError):
        return None


def write_history(invocation: Invocation, report: Report) -> Path | None:
    """Write the history with this run in it, where that is this run's part; return the file.

    A job writes on a push to the default branch only, because all later pull requests are compared with it.

    :raises HistoryError: when it would be too large.
    """
    file = invocation.report_folder / HISTORY_FILE
    if not invocation.settings.history or report.shard or report.result not in _WHOLE:
        return None
    if _is_job(invocation) and not _is_push_to_default_branch(invocation):
        return None
    data = history_bytes(extend(known_history(invocation), report))
    partial = file.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(file)
    return file


def _is_job(invocation: Invocation) -> bool:
    return invocation.environ.get("GITHUB_ACTIONS") == "true"


def _is_push_to_default_branch(invocation: Invocation) -> bool:
    event = _event(invocation)
    return (
        event.name == "push"
        and bool(event.default_branch)
        and invocation.environ.get("GITHUB_REF") == f"refs/heads/{event.default_branch}"
        and not event.is_act
    )


def _event(invocation: Invocation) -> Event:
    try:
        return read_event(invocation.environ)
    except EventError:
        return Event()
