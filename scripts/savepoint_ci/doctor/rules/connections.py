"""Connections that several tasks share, that are not given back, or that are taken twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.parallel import groups
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.project import local_names
from savepoint_ci.doctor.source import Function, inside, keyword, strings
from savepoint_ci.doctor.tests import wider
from savepoint_ci.doctor.things import Thing

__all__ = ["RULES"]


def shared_connection(examined: Examined) -> Iterator[Problem]:
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for group in groups(function):
                uses = [
                    (ast.unparse(used), branch.repeated)
                    for branch in group.branches
                    if (used := _connection(examined, function, branch.call)) is not None
                ]
                for name in dict.fromkeys(name for name, _ in uses):
                    times = [repeated for used, repeated in uses if used == name]
                    if len(times) > 1 or any(times):
                        yield problem(
                            "connection.shared_across_tasks",
                            source=source,
                            node=group.node,
                            name=name,
                            explanation=f"{function.name} uses the one connection {name} in several tasks at once. A "
                            "connection does one thing at a time and refuses the second.",
                            fix=f"Give each task a connection of its own: use a pool, or await the calls on {name} one after "
                            "the other.",
                            confidence=0.95,
                        )


def _connection(examined: Examined, function: Function, call: ast.Call) -> ast.expr | None:
    """The connection on which a call works, or which it is given."""
    candidates = [*call.args, *(each.value for each in call.keywords)]
    if isinstance(call.func, ast.Attribute):
        candidates.insert(0, call.func.value)
    for each in candidates:
        if isinstance(each, ast.Name) and any(each.id in local_names(scope) for scope in _scopes(function)):
            thing = examined.things.of(function.source, each)
            if thing and thing.kind == "connection":
                return each
    return None


def _scopes(function: Function | None) -> Iterator[Function]:
    while function:
        yield function
        function = function.outer


def not_returned(examined: Examined) -> Iterator[Problem]:
    """A function that gives its connection back at the end, and returns before that as well."""
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for node in inside(function.node):
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)], value=ast.Await(value=ast.Call() as call)):
                        if _is_taken(examined, function, call) and (leak := _early_return(function, node, name)):
                            yield problem(
                                "pool.connection_not_returned",
                                source=source,
                                node=node,
                                name=name,
                                explanation=f"{function.name} takes a connection and gives it back on its last path only; the "
                                f"return in line {leak.lineno} keeps it. The test that finds the pool empty is a later one.",
                                fix=f"Use async with {ast.unparse(call)} as {name}.",
                                confidence=0.88,
                            )


def _is_taken(examined: Examined, function: Function, call: ast.Call) -> bool:
    thing = examined.things.of(function.source, call)
    is_method = isinstance(call.func, ast.Attribute) and call.func.attr in ("connect", "acquire")
    return is_method and thing is not None and thing.kind == "connection" and thing.engine is not None


def _early_return(function: Function, taken: ast.Assign, name: str) -> ast.Return | None:
    later = [node for node in inside(function.node) if getattr(node, "lineno", 0) > taken.lineno]
    kept = any(
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        and isinstance(node.targets[0], ast.Attribute)
        for node in later
    )
    if kept or any(isinstance(node, ast.Try) and node.finalbody for node in later):
        return None
    closes = [
        node.lineno
        for node in later
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("close", "release")
    ]
    if not closes:
        return None
    for node in later:
        if isinstance(node, ast.Return) and node.lineno < min(closes):
            named = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            return None if name in named else node
    return None


def nested_checkout(examined: Examined) -> Iterator[Problem]:
    """While it holds a connection, a function calls another that takes one from the same small pool, in several tasks."""
    together = _together(examined)
    for function in together:
        for block in inside(function.node):
            if not isinstance(block, ast.AsyncWith):
                continue
            pool = next(
                (made for item in block.items if (made := _small_pool(examined, function, item.context_expr))), None
            )
            if pool is None:
                continue
            for node in inside(block):
                if not isinstance(node, ast.Call):
                    continue
                callee = examined.project.callee(function.source, node)
                if callee and _takes(examined, callee, pool):
                    yield problem(
                        "pool.nested_checkout_deadlock",
                        source=function.source,
                        node=node,
                        name=function.name,
                        explanation=f"{function.name} holds a connection and calls {callee.name}, which takes a second one from "
                        "the same pool. As many such tasks as the pool has connections wait for each other.",
                        fix=f"Hand the connection on: give {callee.name} the one that is held.",
                        confidence=0.88,
                    )
                    return


def _together(examined: Examined) -> list[Function]:
    """The functions that run in several tasks at once."""
    found: dict[ast.AST, Function] = {}
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for group in groups(function):
                callees = [examined.project.callee(source, each.call) for each in group.branches]
                if len(group.branches) > 1 or any(each.repeated for each in group.branches):
                    for callee in examined.project.reached(each for each in callees if each):
                        found[callee.node] = callee
    return list(found.values())


def _small_pool(examined: Examined, function: Function, node: ast.expr) -> Thing | None:
    """The pool of a connection, when it cannot grow."""
    thing = examined.things.of(function.source, node)
    pool = thing.pool if thing else None
    overflow = keyword(pool.call, "max_overflow") if pool else None
    return pool if isinstance(overflow, ast.Constant) and overflow.value == 0 else None


def _takes(examined: Examined, function: Function, pool: Thing) -> bool:
    for each in examined.project.reached([function]):
        for node in inside(each.node):
            if isinstance(node, ast.AsyncWith):
                for item in node.items:
                    made = _small_pool(examined, each, item.context_expr)
                    if made and made.call is pool.call:
                        return True
    return False


def backends_terminated(examined: Examined) -> Iterator[Problem]:
    """A fixture ends all other backends of the database, while a wider one keeps a pool of them."""
    for fixture in examined.tests.fixtures:
        function = fixture.function
        ending = next((each for each in strings(function.node) if "pg_terminate_backend" in str(each.value)), None)
        if ending is None or "current_database()" not in str(ending.value) or fixture.scope != "function":
            continue
        pools = [
            (each, thing.pool)
            for each in examined.tests.fixtures
            if wider(each.scope, fixture.scope) and (thing := examined.things.given(each)) and thing.pool
        ]
        disposes = any(isinstance(node, ast.Attribute) and node.attr == "dispose" for node in inside(function.node))
        kept = [each for each, pool in pools if pool and keyword(pool.call, "pool_pre_ping") is None]
        if not disposes and kept:
            yield problem(
                "pool.backend_terminated",
                source=fixture.source,
                node=ending,
                name=fixture.name,
                explanation=f"{fixture.name} ends every other backend of the database, also those of connections that wait in "
                f"the pool of {kept[0].name}. The next checkout gets a dead one.",
                fix=f"await {kept[0].name}.dispose() first, or do without pg_terminate_backend.",
                confidence=0.88,
            )


RULES: tuple[Rule, ...] = (shared_connection, not_returned, nested_checkout, backends_terminated)
