"""What writes give to columns, and where two of them met: told by line and column, never by value."""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.sql import Sql

__all__ = ["Keys", "asked"]

_UNIQUE = "23505"
_KEPT = 400
_SETS = 50
_LONGEST = 200
_LARGE = 10**9
_NUMBER = re.compile(r"\d{1,9}")
# Only of what a sequence may count is the number itself told.
_COUNTED = re.compile(r"(^|_)(id|pk|no)$")
_DETAIL = re.compile(r"\((?P<columns>[^()]+)\)=\((?P<values>.+)\)")


class Keys:
    """Keeps, of the latest writes, a hash of each value by its column, in this process only: values may be secrets."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._given: deque[tuple[Fact, str, str, list[dict[str, int]]]] = deque(maxlen=_KEPT)

    def note(self, statement: Fact, read: Sql, parameters: Any, context: Any) -> None:
        """Remember what an insert or update gives.

        :param statement: as it is recorded.
        :param context: SQLAlchemy's, or None.
        """
        if read.writes is None or read.writes[0] not in ("insert", "update"):
            return
        is_orm = getattr(context, "isinsert", False) or getattr(context, "isupdate", False)
        compiled = context.compiled_parameters if is_orm else None
        sets = compiled or _sets(read.gives, parameters)
        given = [{name.lower(): hashed for name, hashed in _hashes(each.items())} for each in sets[:_SETS]]
        self._given.append((statement, *read.writes, given))

    def rivals(self, test: str, errors: Iterable[BaseException]) -> Fact | None:
        """The key for which the database refused a row of a failing test, and the inserts that had given it before.

        :param errors: the exceptions of the failure.
        """
        for error in errors:
            detail = getattr(error, "detail", None) or getattr(getattr(error, "diag", None), "message_detail", None)
            key = _DETAIL.search(detail) if isinstance(detail, str) and _is_duplicate(error) else None
            if key is not None:
                columns = [each.strip().strip('"').lower() for each in key["columns"].split(",")]
                values = [each.strip() for each in key["values"].split(", ")]
                if len(columns) == len(values):
                    return self._of(test, dict(zip(columns, values, strict=True)))
        return None

    def _of(self, test: str, key: dict[str, str]) -> Fact | None:
        inserts = [(at, table, sets) for at, verb, table, sets in self._given if verb == "insert"]
        own = [each for each in inserts if each[0]["test"] == test]
        refused = next((each for each in reversed(own) if each[0]["error"] == _UNIQUE), own[-1] if own else None)
        if refused is None:
            return None
        wanted = {column: hash(value) for column, value in key.items()}
        statement, table, given = refused
        column, number = next(iter(key.items()))
        return {
            "table": table,
            "columns": list(key),
            "number": number if _COUNTED.search(column) and _NUMBER.fullmatch(number) else None,
            "given": any(_has(each, wanted) for each in given),
            "site": statement["site"],
            "inserts": [
                {
                    **{name: earlier[name] for name in ("test", "when", "site", "fixture", "time", "connection")},
                    "literal": self._literal(earlier, key),
                }
                for earlier, other, sets in inserts
                if earlier is not statement and other == table and any(_has(each, wanted) for each in sets)
            ][-5:],
        }

    def updated(self, test: str, table: str, column: str, value: object) -> bool:
        """Whether a test updated a column of a table to this value."""
        wanted = dict(_hashes([(column, value)]))
        return bool(wanted) and any(
            verb == "update" and at["test"] == test and other == table and any(_has(each, wanted) for each in sets)
            for at, verb, other, sets in self._given
        )

    def _literal(self, statement: Fact, key: dict[str, str]) -> Fact | None:
        """The line of the caller's code that writes the key down, in one of the functions that sent the statement."""
        for site in statement["stack"]:
            function = _function_at(self._caller.text(site["path"]), site["line"])
            for name, value in _pairs(function) if function is not None else ():
                if str(name).lower() in key and str(value.value) == key[str(name).lower()]:
                    return {"path": site["path"], "line": value.lineno, "name": site["name"]}
        return None


def asked(read: Sql, parameters: Any) -> dict[str, int]:
    """The numbers that a statement asks for by a column which is called like a key."""
    values = ((column, _value(token, parameters)) for column, token in read.asks)
    return {column: value for column, value in values if isinstance(value, int) and 0 <= value < _LARGE}


def _is_duplicate(error: Any) -> bool:
    return _UNIQUE in (getattr(error, "sqlstate", None), getattr(error, "pgcode", None))


def _has(given: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    return all(given.get(column) == value for column, value in wanted.items())


def _sets(gives: tuple[tuple[str, str], ...], parameters: Any) -> list[dict[str, Any]]:
    """The values by column, once for each set of parameters."""
    is_several = isinstance(parameters, list) and all(isinstance(each, tuple | list | dict) for each in parameters)
    several = parameters if is_several else [parameters]
    return [{column: _value(token, each) for column, token in gives} for each in several[:_SETS]]


def _value(token: str, parameters: Any) -> Any:
    """What a placeholder or a plain literal of a SQL text stands for; None when that cannot be told."""
    try:
        if token[0] == "$":
            return parameters[int(token[1:]) - 1]
        if token[0] == "'":
            return token[1:-1]
        return int(token) if token.isdecimal() else parameters[token]
    except (LookupError, TypeError, ValueError):
        return None


def _hashes(values: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, int]]:
    for name, value in values:
        if isinstance(value, int | UUID) or (isinstance(value, str) and len(value) < _LONGEST):
            yield name, hash(str(value))


def _function_at(source: str, line: int) -> ast.AST | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: node.lineno, default=None)


def _pairs(function: ast.AST) -> Iterator[tuple[object, ast.Constant]]:
    """The names in a function that are given a constant: arguments, and keys of dictionaries."""
    for node in ast.walk(function):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            yield node.arg, node.value
        elif isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and isinstance(value, ast.Constant):
                    yield name.value, value
