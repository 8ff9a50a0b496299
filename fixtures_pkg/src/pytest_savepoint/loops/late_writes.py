"""Writes that a task of one test sends while another test runs, which uses the same table."""

from __future__ import annotations

import ast
import re
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.history import History
from pytest_savepoint.loops.patches import harmless
from pytest_savepoint.loops.tasks import current_task, suspended
from pytest_savepoint.syntax import nodes_of

__all__ = ["LateWrites"]


class LateWrites:
    """Looks at the source of such a task only: a worker that goes round in a loop serves each test that asks it to."""

    def __init__(self, recorder: Recorder, caller: Caller, history: History) -> None:
        self._recorder = recorder
        self._caller = caller
        self._history = history
        self._found: list[tuple[Fact, str]] = []  # the statement, and its table
        history.when_late = self._note

    @harmless
    def _note(self, statement: Fact, table: str) -> None:
        if not self._is_in_a_loop(current_task()):
            self._found.append((statement, table))

    def _is_in_a_loop(self, task: Any) -> bool:
        own = (each for each in suspended(task) if self._caller.owns(each.f_code.co_filename))
        return any(_loops(self._caller.function(each.f_code)) for each in own)

    def end(self) -> None:
        """A test is over, with its teardown."""
        if not self._found:
            return
        found, self._found = self._found, []
        late = {statement["made"]["task"] for statement, _ in found}
        own = [each for each in self._history.of_test(self._recorder.test) if (each["made"] or {}).get("task") not in late]
        for statement, table in found:
            if any(re.search(rf"\b{re.escape(table)}\b", each["sql"], re.IGNORECASE) for each in own):
                self._recorder.note("late_write", made=statement["made"], table=table, sql=statement["sql"][:200])


def _loops(function: Fact) -> bool:
    nodes = nodes_of(function)
    # One that is too long to be read whole may.
    return not nodes or any(isinstance(node, ast.While | ast.AsyncFor) for node in nodes)
