"""Synchronous calls that hold the loop: sleeps, HTTP, drivers, called in a coroutine or in what it calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from savepoint_ci.doctor.edits import import_line, replacement
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside, strings
from savepoint_ci.doctor.tests import wider

__all__ = ["RULES"]

_DEPTH = 5
_SHORTEST_SLEEP = 0.01
_HTTP = {f"requests.{name}" for name in ("get", "post", "put", "patch", "delete", "head", "options", "request")}
_DRIVERS = {"psycopg.connect", "psycopg2.connect", "pymysql.connect", "MySQLdb.connect", "pg8000.connect"}
_STAND_INS = ("responses", "requests_mock", "httpretty", "vcr", "pook")
_WRITES = re.compile(r"\b(?:update|insert\s+into|delete\s+from|lock\s+table)\s+\"?(\w+)", re.IGNORECASE)


def self_deadlock(examined: Examined) -> Iterator[Problem]:
    for function, call, callee in _self_deadlocks(examined):
        statement = next(each for each in strings(callee.node) if _WRITES.search(str(each.value)))
        yield problem(
            "blocking.sync_db_call_self_deadlock",
            source=callee.source,
            node=statement,
            name=callee.name,
            explanation=f"{function.name} has written a row in an open transaction and calls {callee.name}, whose synchronous "
            "driver waits for the same table's rows on the same thread. PostgreSQL sees a wait, not a cycle.",
            fix=f"Let {callee.name} work on the connection that is open, with await.",
            confidence=0.9,
            evidence=[f"{function.source.path}:{call.lineno} calls it inside the transaction"],
        )


def _self_deadlocks(examined: Examined) -> Iterator[tuple[Function, ast.Call, Function]]:
    """A coroutine with an open transaction, its call, and the synchronous function that writes to the same table."""
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for block in inside(function.node):
                if not isinstance(block, ast.AsyncWith) or not _is_transaction(block):
                    continue
                written: set[str] = set()
                for node in inside(block):
                    if isinstance(node, ast.Await):
                        written |= {name for each in strings(node) for name in _WRITES.findall(str(each.value))}
                    callee = examined.project.callee(source, node) if isinstance(node, ast.Call) else None
                    if callee and not callee.is_async and _connects(callee):
                        tables = {name for each in strings(callee.node) for name in _WRITES.findall(str(each.value))}
                        if isinstance(node, ast.Call) and tables & written:
                            yield function, node, callee


def _is_transaction(block: ast.AsyncWith) -> bool:
    calls = [each.context_expr for each in block.items if isinstance(each.context_expr, ast.Call)]
    return any(isinstance(call.func, ast.Attribute) and call.func.attr in ("transaction", "begin") for call in calls)


def _connects(function: Function) -> bool:
    calls = (node for node in inside(function.node) if isinstance(node, ast.Call))
    return any(function.source.dotted(call.func) in _DRIVERS for call in calls)


def sync_call(examined: Examined) -> Iterator[Problem]:
    explained = {callee.node for _, _, callee in _self_deadlocks(examined)}
    found: dict[ast.Call, tuple[Function, Function]] = {}
    for source in examined.project.sources.values():
        for function in source.functions.values():
            fixture = examined.tests.fixture_of(function)
            if function.is_async and not (fixture and wider(fixture.scope, "function")):
                for inner, call in _blocking(examined, function, _DEPTH):
                    if inner.node not in explained:
                        found.setdefault(call, (function, inner))
    for call, (function, inner) in found.items():
        called = ast.unparse(call.func)
        through = "" if inner is function else f" through {inner.name}"
        yield problem(
            "blocking.sync_call_in_loop",
            source=inner.source,
            node=call,
            name=inner.name,
            explanation=f"The coroutine {function.name} calls {called}{through}, which holds the event loop until it is done. "
            "Everything else on that loop stands still, and deadlines pass.",
            fix=_advice(inner, function, call),
            confidence=0.88,
            edits=[
                replacement(inner.source, call.func, "await asyncio.sleep"),
                import_line(inner.source, "import asyncio"),
            ]
            if inner is function and inner.source.dotted(call.func) == "time.sleep"
            else [],
        )


def _advice(inner: Function, function: Function, call: ast.Call) -> str:
    called = inner.source.dotted(call.func)
    if called == "time.sleep" and inner is function:
        return "await asyncio.sleep(...) instead."
    if called in _HTTP:
        return "Use httpx.AsyncClient and await the call."
    what = inner.name if inner is not function else ast.unparse(call.func)
    return f"await asyncio.to_thread({what}, ...) in {function.name}, or use an asynchronous library."


def _blocking(examined: Examined, function: Function, depth: int) -> Iterator[tuple[Function, ast.Call]]:
    """The blocking calls that run when a function runs, with the function in which each is written."""
    for node in inside(function.node):
        if not isinstance(node, ast.Call):
            continue
        if _blocks(function.source, node):
            yield function, node
        callee = examined.project.callee(function.source, node)
        if depth and callee and callee is not function and _runs_at_once(callee):
            yield from _blocking(examined, callee, depth - 1)


def _runs_at_once(function: Function) -> bool:
    """Calling it runs its body: it is no coroutine or generator, and no decorator makes something else of it."""
    if function.is_async or function.node.decorator_list:
        return False
    return not any(isinstance(each, ast.Yield | ast.YieldFrom) for each in inside(function.node))


def _blocks(source: Source, call: ast.Call) -> bool:
    dotted = source.dotted(call.func)
    if dotted == "time.sleep":
        length = call.args[0] if call.args else None
        short = (
            isinstance(length, ast.Constant)
            and isinstance(length.value, int | float)
            and length.value < _SHORTEST_SLEEP
        )
        return not short and not re.search(r"['\"](\w+\.)*time\.sleep['\"]|setattr\(time\b", source.text)
    if dotted in _HTTP:
        return not any(module.partition(".")[0] in _STAND_INS for module in source.imports.values())
    return dotted in _DRIVERS


RULES: tuple[Rule, ...] = (self_deadlock, sync_call)
