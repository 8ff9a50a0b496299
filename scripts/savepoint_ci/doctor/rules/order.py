"""What makes a suite depend on the order of tests, rows, ids or parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from savepoint_ci.doctor.edits import replacement, written
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.project import assigned
from savepoint_ci.doctor.source import Function, Source, has_splat, inside, keyword
from savepoint_ci.doctor.suite import Suite

__all__ = ["RULES"]

_QUERIES = ("execute", "scalars", "fetch", "exec_driver_sql", "stream_scalars")
_SELECT = re.compile(r"^\s*select\s+(?!distinct\s+on)(.+?)\s+from\s+\"?(\w+)\"?\s*(.*)$", re.IGNORECASE | re.DOTALL)
_ORDERS = re.compile(r"\border\s+by\b|\blimit\s+1\b|\bjoin\b|\bunion\b", re.IGNORECASE)
_AGGREGATES = re.compile(
    r"^\s*(count|sum|min|max|avg|array_agg|string_agg|json_agg|jsonb_agg|bool_and|bool_or)\s*\(", re.IGNORECASE
)


def unordered_select(examined: Examined) -> Iterator[Problem]:
    """Rows are compared with a list although no order is asked for, and the project updates their table."""
    for test in examined.tests.tests:
        for node in inside(test.function.node):
            match node:
                case ast.Compare(left=left, ops=[ast.Eq()], comparators=[ast.List(elts=[_, _, *_])]):
                    query = _query(examined, test.function, left)
                case _:
                    continue
            if query is None:
                continue
            source, select, table = query
            if not _is_updated(examined, examined.project.suite(test.source), table):
                continue
            owner = source.function_of(select)
            yield problem(
                "state.unordered_select",
                source=source,
                node=select,
                name=owner.name if owner else table,
                explanation=f"{test.function.name} expects rows of {table} in one order, and the query asks for none. An update "
                "elsewhere moves a row to another place.",
                fix="Add ORDER BY to the query, or compare sorted lists.",
                confidence=0.87,
                tests=[test],
            )


_Query = tuple[Source, ast.expr, str]
"""Where a SELECT is written, the text, and its table."""


def _query(examined: Examined, function: Function, node: ast.expr, depth: int = 12) -> _Query | None:
    """The unordered SELECT whose rows an expression lists as they come."""
    if depth == 0:
        return None
    inner: ast.expr | None = None
    match node:
        case ast.Call(func=ast.Attribute(attr=attribute), args=[select, *_]) if attribute in _QUERIES:
            return _select(function.source, select)
        case ast.Call(func=ast.Attribute(attr="all" | "scalars" | "fetchall", value=rows)):
            inner = rows
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[rows]):
            inner = rows
        case ast.Call():
            return _returned_query(examined, function, node, depth)
        case ast.Await(value=value) | ast.Attribute(value=value) | ast.NamedExpr(value=value):
            inner = value
        case ast.ListComp(generators=[ast.comprehension(iter=rows)]):
            inner = rows
        case ast.Name(id=name) if f"{name}.sort(" not in ast.unparse(function.node):
            inner = assigned(function, name)
    return _query(examined, function, inner, depth - 1) if inner is not None else None


def _returned_query(examined: Examined, function: Function, call: ast.Call, depth: int) -> _Query | None:
    callee = examined.project.callee(function.source, call)
    values = (
        [each.value for each in inside(callee.node) if isinstance(each, ast.Return) and each.value] if callee else []
    )
    return _query(examined, callee, values[0], depth - 1) if callee and len(values) == 1 else None


def _select(source: Source, node: ast.expr) -> _Query | None:
    text = (
        node.args[0]
        if isinstance(node, ast.Call) and source.dotted(node.func) == "sqlalchemy.text" and node.args
        else node
    )
    if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
        return None
    found = _SELECT.match(text.value)
    if not found or _ORDERS.search(text.value) or _AGGREGATES.match(found[1]):
        return None
    return source, text, found[2]


def _is_updated(examined: Examined, suite: Suite, table: str) -> bool:
    changes = re.compile(rf"\bupdate\s+\"?{re.escape(table)}\b", re.IGNORECASE)
    return any(changes.search(each) for source in examined.project.files(suite) for each in source.texts)


def parameters_of_a_set(examined: Examined) -> Iterator[Problem]:
    for test in examined.tests.tests:
        for mark in test.marks:
            if not isinstance(mark, ast.Call) or test.source.dotted(mark.func) != "pytest.mark.parametrize":
                continue
            values = mark.args[1] if len(mark.args) > 1 else keyword(mark, "argvalues")
            elements = _set_of_text(examined, test.source, values)
            if values is None or elements is None:
                continue
            yield problem(
                "xdist.nondeterministic_collection",
                source=test.source,
                node=mark,
                name=test.function.name,
                explanation=f"{test.function.name} is parametrized over a set of strings, whose order differs from process to "
                "process. Every xdist worker collects other tests, and xdist refuses to start.",
                fix=f"parametrize over sorted({ast.unparse(values)}).",
                confidence=0.95,
                tests=[test],
                edits=[replacement(test.source, values, f"sorted({written(test.source, values)})")],
            )


def _set_of_text(examined: Examined, source: Source, node: ast.expr | None) -> list[ast.expr] | None:
    """The elements of a set in which all are strings."""
    match node:
        case ast.Set(elts=elements):
            texts = all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in elements)
            return elements if texts else None
        case ast.Call(func=ast.Name(id="set" | "frozenset"), args=[ast.List(elts=elements) | ast.Tuple(elts=elements)]):
            return _set_of_text(examined, source, ast.Set(elts=elements))
        case ast.Call(func=ast.Name(id="frozenset" | "list" | "tuple"), args=[value]):
            return _set_of_text(examined, source, value)
        case ast.Name() | ast.Attribute():
            found = examined.project.definition(source, node)
            return _set_of_text(examined, found.source, found.value) if found and found.value else None
    return None


def assumed_id(examined: Examined) -> Iterator[Problem]:
    """A test knows the next value of a sequence."""
    for test in examined.tests.tests:
        function = test.function
        if _restarts_sequences(examined, examined.project.suite(test.source)):
            continue
        for node in inside(function.node):
            match node:
                case ast.Compare(
                    left=ast.Attribute(value=ast.Name(id=name), attr="id"),
                    ops=[ast.Eq()],
                    comparators=[ast.Constant(value=int())],
                ) if _is_inserted(examined, function, name):
                    yield problem(
                        "state.sequence_assumption",
                        source=test.source,
                        node=node,
                        name=function.name,
                        explanation=f"{function.name} expects {ast.unparse(node)} of a row that the database numbers. A "
                        "sequence goes on after a rollback, so the number depends on the tests that ran before.",
                        fix=f"Compare with the {name}.id that the insert gave, not with a number.",
                        confidence=0.85,
                        tests=[test],
                    )


def _is_inserted(examined: Examined, function: Function, name: str) -> bool:
    """The object is new, has no id given, and is added to a session."""
    made = assigned(function, name)
    if not isinstance(made, ast.Call) or keyword(made, "id") or made.args or has_splat(made):
        return False
    for node in inside(function.node):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name() as session, attr="add" | "add_all")):
                thing = examined.things.of(function.source, session)
                if (
                    thing
                    and thing.kind == "session"
                    and name in {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                ):
                    return True
    return False


def _restarts_sequences(examined: Examined, suite: Suite) -> bool:
    markers = ("sqlite", "restart identity", "RESTART IDENTITY", "drop_all", "setval")
    return any(marker in source.text for source in examined.project.files(suite) for marker in markers)


RULES: tuple[Rule, ...] = (unordered_select, parameters_of_a_set, assumed_id)
