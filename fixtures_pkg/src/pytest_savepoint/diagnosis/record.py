"""The recorded facts of a run, as the rules read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pytest_savepoint.diagnosis.finding import Culprit
from pytest_savepoint.syntax import nodes_of

__all__ = [
    "Fact",
    "Record",
    "asserted",
    "at_fixture",
    "at_site",
    "enclosing",
    "innermost",
    "is_of_other_test",
    "line_with",
    "overturned",
    "place",
    "raised",
    "reads",
    "selects",
    "sqlstates",
    "tables_of",
    "through",
    "timed_out",
    "transactions",
    "written",
]

Fact = dict[str, Any]

_WRITE = re.compile(
    r"\s*(insert\s+into|update|delete\s+from|truncate(?:\s+table)?)\s+(?:only\s+)?\"?([\w.]+)", re.IGNORECASE
)
_TABLE = re.compile(
    r"\b(?:from|join|into|update|table|truncate)\s+(?!table\b)(?:if\s+(?:not\s+)?exists\s+)?(?:only\s+)?\"?([\w.]+)",
    re.IGNORECASE,
)
_READ = re.compile(r"\s*(select|with)\b", re.IGNORECASE)
_TIMEOUTS = {"TimeoutError", "CancelledError", "Timeout"}


class Record:
    """Facts by kind, in the order in which each process recorded them."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.facts = list(facts)
        self._by_kind: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self._by_kind.setdefault(fact["kind"], []).append(fact)

    def of(self, kind: str) -> list[Fact]:
        return self._by_kind.get(kind, [])

    @property
    def failures(self) -> list[Fact]:
        return self.of("failure")

    def during(self, kind: str, test: Fact) -> Iterator[Fact]:
        """Facts of a kind that were recorded in the same test and process as another fact, before it."""
        for fact in self.of(kind):
            if fact["test"] == test["test"] and fact["worker"] == test["worker"] and fact["at"] < test["at"]:
                yield fact

    def configuration(self) -> Fact:
        """How the suite is set up; the same in every process."""
        return next(iter(self.of("configuration")), {"settings": {}, "event_loop": None, "versions": {}})

    def setting(self, name: str) -> str | None:
        value: str | None = self.configuration()["settings"].get(name)
        return value

    def asyncio_version(self) -> str:
        return str(self.configuration()["versions"].get("pytest-asyncio", "0"))

    def event_loop_override(self) -> Fact | None:
        """The caller's own event_loop fixture, where the installed pytest-asyncio ignores it."""
        override: Fact | None = self.configuration()["event_loop"]
        return override if int(self.asyncio_version().partition(".")[0]) >= 1 else None


def at_site(site: Fact | None) -> Culprit | None:
    """A recorded line as a culprit."""
    return None if site is None or site.get("line") is None else Culprit(site["path"], site["line"], site["name"])


def at_fixture(fixture: Fact, pattern: str | None = None) -> Culprit:
    """A fixture as a culprit: the line of its body that matches, else its first line."""
    line = line_with(fixture, pattern) if pattern else None
    return Culprit(fixture["path"], line or fixture["line"], fixture["name"])


def line_with(function: Fact, pattern: str) -> int | None:
    """The first line of a function's source that matches a pattern."""
    for offset, text in enumerate(function.get("source", ())):
        if re.search(pattern, text):
            return int(function["line"]) + offset
    return None


def enclosing(function: Fact | None, line: int, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> ast.AST | None:
    """The innermost statement of a kind around a line of a function's source, with line numbers of the file."""
    around = [
        node
        for node in (nodes_of(function) if function is not None else ())
        if isinstance(node, kind) and getattr(node, "lineno", 0) <= line <= (getattr(node, "end_lineno", 0) or 0)
    ]
    return max(around, key=lambda node: getattr(node, "lineno", 0), default=None)


def place(site: Fact | None) -> str:
    """A line as people write it."""
    return f"{site['path']}:{site['line']}" if site else "an unknown line"


def sqlstates(failure: Fact) -> set[str]:
    """PostgreSQL's codes of the errors in a failure."""
    return {error["sqlstate"] for error in failure["exceptions"] if error["sqlstate"]}


def through(failure: Fact, *places: str) -> bool:
    """Whether the failure went through one of these library functions or modules."""
    return any(seen.startswith(each) for seen in failure["through"] for each in places)


def asserted(failure: Fact) -> bool:
    """Whether a test ended with an assertion of its own."""
    first: Fact = failure["exceptions"][0]
    return bool(first["type"] == "AssertionError" and failure["when"] == "call")


def overturned(failure: Fact) -> bool:
    """Whether a test found other data than it expected: by its own assertion, or by a constraint's."""
    return asserted(failure) or any(
        "IntegrityError" in (error["type"], *error["bases"]) for error in failure["exceptions"]
    )


def innermost(failure: Fact) -> Fact | None:
    """The caller's line that was closest to where the failure was raised; a group of tasks raises only what they did."""
    sited = [error for error in failure["exceptions"] if error["sites"]]
    first = next((error for error in sited if "BaseExceptionGroup" not in (error["type"], *error["bases"])), None)
    error = first or (sited[0] if sited else None)
    site: Fact | None = error["sites"][-1] if error else None
    return site


def raised(failure: Fact, path: str, name: str) -> Fact | None:
    """The exception of a failure that was raised in this function of this library file."""
    for error in failure["exceptions"]:
        place = error["raised_in"]
        if place is not None and place["path"].endswith(path) and place["name"] == name:
            found: Fact = error
            return found
    return None


def written(sql: str) -> tuple[str, str]:
    """The verb and the table of a statement that writes; two empty texts for any other."""
    found = _WRITE.match(sql)
    return (found[1].split()[0].lower(), found[2].lower()) if found else ("", "")


def tables_of(sql: str) -> set[str]:
    """The tables that a statement names."""
    return {table.lower() for table in _TABLE.findall(sql)}


def selects(sql: str) -> bool:
    """Whether a statement only reads."""
    return bool(_READ.match(sql))


def reads(sql: str, table: str) -> bool:
    """Whether a statement only reads, and this table among others."""
    return selects(sql) and table in tables_of(sql)


def is_of_other_test(statement: Fact, failure: Fact) -> bool:
    """Whether a task sent a statement that another test had made, and that should have ended with it."""
    made = statement["made"]
    return bool(
        made is not None
        and made["test"] not in ("", failure["test"])
        and made["fixture"] is None
        and made["when"] == "call"
    )


def transactions(failure: Fact) -> list[list[Fact]]:
    """The statements of a failing test by transaction, as they began; those outside of one by task."""
    every: list[list[Fact]] = []
    opened: dict[int, list[Fact]] = {}
    loose: dict[object, list[Fact]] = {}
    for statement in failure["statements"]:
        number = statement["connection"]
        verb = statement["sql"].strip().rstrip(";").upper()
        if number is None:
            continue
        if verb.startswith(("BEGIN", "START TRANSACTION")):
            every.append([])
            opened[number] = every[-1]
        elif verb in ("COMMIT", "ROLLBACK"):
            opened.pop(number, None)
        elif number in opened:
            opened[number].append(statement)
        else:
            if statement["task"] not in loose:
                every.append([])
                loose[statement["task"]] = every[-1]
            loose[statement["task"]].append(statement)
    return every


def timed_out(failure: Fact) -> bool:
    """Whether a test ran out of time: its own deadline, or pytest-timeout's."""
    return any(
        _TIMEOUTS & {error["type"], *error["bases"]}
        or (error["type"] == "Failed" and error["message"].startswith("Timeout"))
        for error in failure["exceptions"]
    )
