"""Local time against the database's, and time that does not move within a transaction."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, inside, keyword, strings
from savepoint_ci.doctor.suite import Suite
from savepoint_ci.doctor.tests import TestFunction

__all__ = ["RULES"]

_LOCAL = ("datetime.date.today", "datetime.datetime.today", "datetime.datetime.now")
_QUERIES = {"execute", "fetch", "fetchval", "fetchrow", "scalar", "scalars"}
_REMOTE = _QUERIES | {"connect", "get", "post", "request"}
_DATABASE_TIME = re.compile(r"\b(current_date|current_timestamp|localtimestamp)\b|\bnow\(\)", re.IGNORECASE)
_FROZEN = re.compile(r"=\s*(now\(\)|current_timestamp)", re.IGNORECASE)
_LATER = re.compile(r"select\s+\w+\s*[<>]\s*\w+\s+from\s+(\w+)", re.IGNORECASE)


def local_time(examined: Examined) -> Iterator[Problem]:
    """A test hands the local date to a query about a column that the database dates."""
    for test in examined.tests.tests:
        suite = examined.project.suite(test.source)
        for call in _local_calls(test):
            if not (_is_queried(test.function, call) and _dates_by_itself(examined, suite)) and not _is_compared(
                examined, test.function, call
            ):
                continue
            asked = ast.unparse(call)
            yield problem(
                "time.timezone_mismatch",
                source=test.source,
                node=call,
                name=test.function.name,
                explanation=f"{asked} speaks the local zone, and the database dates the row in its own. For some hours of the "
                "day the two name different dates.",
                fix="datetime.datetime.now(datetime.timezone.utc), and .date() of it where a date is wanted.",
                confidence=0.8,
                tests=[test],
            )


def _local_calls(test: TestFunction) -> Iterator[ast.Call]:
    if "freez" in test.source.text or "time_machine" in test.source.text:
        return
    for node in inside(test.function.node):
        if (
            isinstance(node, ast.Call)
            and test.source.dotted(node.func) in _LOCAL
            and not node.args
            and not node.keywords
        ):
            yield node


def _is_queried(function: Function, local: ast.Call) -> bool:
    """The value, or the name it is given, is an argument of a query that is awaited."""
    names = _names_of(function, local)
    for node in inside(function.node):
        match node:
            case ast.Await(value=ast.Call(func=ast.Attribute(attr=attribute), args=[_, *rest])) if (
                attribute in _QUERIES
            ):
                for each in rest:
                    inner = set(ast.walk(each))
                    if local in inner or any(isinstance(one, ast.Name) and one.id in names for one in inner):
                        return True
    return False


def _names_of(function: Function, value: ast.expr) -> set[str]:
    return {
        node.targets[0].id
        for node in inside(function.node)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.value is value
    }


def _dates_by_itself(examined: Examined, suite: Suite) -> bool:
    return any(
        "default" in each.lower() and _DATABASE_TIME.search(each)
        for source in examined.project.files(suite)
        for each in source.texts
    )


def _is_compared(examined: Examined, function: Function, local: ast.Call) -> bool:
    """It is compared with an attribute that a server default fills."""
    names = _names_of(function, local)
    filled = _filled_by_server(examined, examined.project.suite(function.source))
    for node in inside(function.node):
        if not isinstance(node, ast.Compare) or not all(isinstance(each, ast.Eq) for each in node.ops):
            continue
        inner = set(ast.walk(node))
        is_local = local in inner or any(isinstance(each, ast.Name) and each.id in names for each in inner)
        if is_local and any(isinstance(each, ast.Attribute) and each.attr in filled for each in inner):
            return True
    return False


def _filled_by_server(examined: Examined, suite: Suite) -> set[str]:
    found = set()
    for source in examined.project.files(suite):
        for node in source.nodes:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call() as column):
                    pass
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as column):
                    pass
                case _:
                    continue
            default = keyword(column, "server_default")
            if default is not None and _DATABASE_TIME.search(ast.unparse(default)):
                found.add(name)
    return found


def frozen_now(examined: Examined) -> Iterator[Problem]:
    """A test waits for now() to move, in a transaction that is open for the whole test."""
    for test in examined.tests.tests:
        function, source = test.function, test.source
        texts = [each for each in strings(function.node) if isinstance(each.value, str)]
        compared = any(_LATER.search(str(each.value)) for each in texts)
        update = next((each for each in texts if _FROZEN.search(str(each.value))), None)
        if update is None or not compared:
            continue
        session = next((each for each in examined.tests.requested(function) if _keeps_open(each.function)), None)
        if session is None and not examined.project.suite(source).managed:
            continue
        kept = session.name if session else "db_session"
        yield problem(
            "time.now_frozen_in_transaction",
            source=source,
            node=update,
            name=kept,
            explanation=f"{kept} keeps one transaction open for the whole test, and now() is the time at which it began. "
            f"{function.name} expects it to have moved.",
            fix="Use clock_timestamp() instead of now() here and in the column's default.",
            confidence=0.88,
            tests=[test],
        )


def _keeps_open(function: Function) -> bool:
    return any(
        isinstance(node, ast.Call)
        and "create_savepoint" in ast.unparse(keyword(node, "join_transaction_mode") or ast.Constant(""))
        for node in inside(function.node)
    )


def sleep_based_sync(examined: Examined) -> Iterator[Problem]:
    """A test sleeps for a fixed time and then expects that work which talks to somebody else is done."""
    for test in examined.tests.tests:
        body = [node for node in inside(test.function.node) if isinstance(node, ast.stmt)]
        for sleep, check in pairwise(body):
            waited = _waited_for(check)
            if waited is None or not _is_fixed_sleep(test, sleep) or not _is_remote(examined, test.function, waited):
                continue
            yield problem(
                "time.sleep_based_sync",
                source=test.source,
                node=sleep,
                name=test.function.name,
                explanation=f"{test.function.name} sleeps and then expects {ast.unparse(check)[len('assert ') :]}. The work "
                "talks to another process, and now and then takes longer than the sleep.",
                fix=f"Wait for it: await asyncio.wait_for({waited}.wait(), timeout=10), or await the task itself.",
                confidence=0.82,
                tests=[test],
            )


def _waited_for(check: ast.stmt) -> str | None:
    """The event or task that an assertion expects to be done."""
    match check:
        case ast.Assert(test=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="is_set" | "done"), args=[])):
            return name
    return None


def _is_fixed_sleep(test: TestFunction, statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(
            value=ast.Await(value=ast.Call(func=called, args=[ast.Constant(value=float() | int() as length)]))
        ):
            return test.source.dotted(called) == "asyncio.sleep" and length > 0
    return False


def _is_remote(examined: Examined, function: Function, name: str) -> bool:
    """The name comes from a call whose work awaits queries or requests."""
    for node in inside(function.node):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        bound = {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        callee = examined.project.callee(function.source, node.value) if name in bound else None
        if callee is None:
            continue
        for reached in examined.project.reached([callee]):
            for each in inside(reached.node):
                match each:
                    case ast.Await(value=ast.Call(func=ast.Attribute(attr=attribute))) if attribute in _REMOTE:
                        return True
    return False


RULES: tuple[Rule, ...] = (local_time, frozen_now, sleep_based_sync)
