"""What each test asked of the database: how many statements, how long, the slowest, and whether one was sent in a loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_savepoint.loops.executions import tell_executions

__all__ = ["AssertQueries", "Queries"]

_SHOWN = 300
_IN_A_LOOP = 10
"""As many times must one SELECT be sent with other values before it is called a loop."""


class Queries:
    """Counts the statements of every engine in this process, per test."""

    def __init__(self) -> None:
        self._texts: Counter[str] = Counter()
        self._seconds = 0.0
        self._rows = 0
        self._slowest = ("", 0.0)
        self._listeners: list[list[str]] = []
        self.stop = tell_executions(before=self._before, after=self._after)

    def begin(self) -> None:
        """A test starts."""
        self._texts.clear()
        self._seconds, self._rows, self._slowest = 0.0, 0, ("", 0.0)

    def summary(self) -> dict[str, Any] | None:
        """What this test has asked so far, or nothing."""
        if not self._texts:
            return None
        text, seconds = self._slowest
        summary: dict[str, Any] = {
            "count": sum(self._texts.values()),
            "seconds": round(self._seconds, 6),
            "rows": self._rows,
            "slowest": {"statement": _short(text), "seconds": round(seconds, 6)},
        }
        most, times = max(self._texts.items(), key=lambda item: (item[1], item[0]))
        if times >= _IN_A_LOOP and most.lstrip()[:6].lower() == "select":
            summary["repeated"] = {"statement": _short(most), "times": times}
        return summary

    def _before(self, statement: str, _parameters: Any, _context: Any) -> None:
        self._texts[statement] += 1
        for listener in self._listeners:
            listener.append(statement)

    def _after(self, statement: str, cursor: Any, seconds: float) -> None:
        self._seconds += seconds
        self._rows += max(getattr(cursor, "rowcount", 0) or 0, 0)
        if seconds > self._slowest[1]:
            self._slowest = statement, seconds

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """The statements that are sent in the block, in their order."""
        statements: list[str] = []
        self._listeners.append(statements)
        try:
            yield statements
        finally:
            self._listeners.remove(statements)


class AssertQueries:
    """Holds a block to a number of statements."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    @contextmanager
    def __call__(self, exactly: int | None = None, *, at_most: int | None = None) -> Iterator[list[str]]:
        """Fail the test when the block sends another number of statements.

        :param exactly: the number that is wanted.
        :param at_most: the largest number that is allowed.
        :raises AssertionError: with the statements and how often each was sent.
        """
        __tracebackhide__ = True
        with self._queries.listening() as statements:
            yield statements
        sent = len(statements)
        if (exactly is not None and sent != exactly) or (at_most is not None and sent > at_most):
            wanted = f"{exactly}" if exactly is not None else f"at most {at_most}"
            counts = Counter(map(_short, statements)).most_common()
            lines = [f"  {times} x {statement}" for statement, times in counts]
            raise AssertionError("\n".join([f"{sent} statements were sent, {wanted} wanted:", *lines]))


def _short(statement: str) -> str:
    return " ".join(statement.split())[:_SHOWN]
