"""SP5xx: rows whose order nobody asked for."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    at_site,
    enclosing,
    innermost,
    place,
    selects,
    tables_of,
)

__all__ = ["RULES"]

_COLUMNS = re.compile(r"^\s*select\s+(.+?)\s+from\b", re.IGNORECASE | re.DOTALL)
_ORDERED = re.compile(r"\border\s+by\b", re.IGNORECASE)
_LIMITED = re.compile(r"\b(limit|fetch\s+(first|next))\b", re.IGNORECASE)
_AGGREGATE = re.compile(r"^\s*select\s+(count|sum|min|max|avg|exists|bool_\w+)\s*\(", re.IGNORECASE)


def _unordered_select(record: Record) -> Iterator[Finding]:
    for failure in record.failures:
        comparison = failure["comparison"]
        if not asserted(failure) or comparison is None or comparison["op"] != "==":
            continue
        read = [each for each in failure["statements"] if selects(each["sql"]) and not _AGGREGATE.match(each["sql"])]
        if not read or _ORDERED.search(read[-1]["sql"]):
            continue
        last = read[-1]
        moved = None if comparison["reordered"] else _moved(failure, last["sql"])
        if moved is None and not comparison["reordered"]:
            continue
        seen = "same elements in another order" if moved is None else f"{moved['test']} updated {moved['table']} before"
        yield finding(
            "state.unordered_select",
            tests=[failure["test"]],
            culprit=at_site(last["site"]),
            explanation=f"{place(last['site'])} selects without ORDER BY, and {failure['test']} expects an order. The rows are "
            "the expected ones; an update, a vacuum or another plan moves them.",
            fix=f"Add ORDER BY at {place(last['site'])}, or compare without order (sorted() or a set).",
            confidence=0.95 if moved is None else 0.91,
            evidence=[f"{seen}, read by: {last['sql'][:160]}"],
        )


def _moved(failure: Fact, select: str) -> Fact | None:
    """The update of another test that moved the rows of which a test takes one by its place, and changed nothing of it."""
    limited = _LIMITED.search(select) is not None
    site = innermost(failure)
    statement = enclosing(failure["function"], site["line"], ast.Assert) if site else None
    by_place = statement is not None and " where " not in select.lower() and any(map(_is_place, ast.walk(statement)))
    columns = _COLUMNS.match(select)
    if not (by_place or limited) or columns is None:
        return None
    seen = _words(select if limited else columns[1])
    writes = [each for each in failure["committed"] if each["table"] in tables_of(select) and each["when"] == "call"]
    moves = [each for each in writes if each["verb"] == "update" and not _sets(each["sql"]) & seen]
    return moves[-1] if moves and len(moves) == len(writes) else None


def _is_place(node: ast.AST) -> bool:
    """Whether an expression takes one element of a list: rows[0], rows[-1]."""
    if not isinstance(node, ast.Subscript):
        return False
    index = node.slice.operand if isinstance(node.slice, ast.UnaryOp) else node.slice
    return isinstance(index, ast.Constant) and isinstance(index.value, int)


def _sets(update: str) -> set[str]:
    """The columns that an update changes, and `*`, which names them all."""
    return {"*", *re.findall(r"(\w+)\"?\s*=", re.split(r"\bwhere\b", update.lower())[0])}


def _words(columns: str) -> set[str]:
    return set(re.findall(r"\w+|\*", columns.lower()))


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_unordered_select,)
