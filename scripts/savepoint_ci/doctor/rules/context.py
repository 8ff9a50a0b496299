"""Context variables that a fixture leaves set, or whose token is used up elsewhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.edits import Edit, after_statement, insertion
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.project import local_names
from savepoint_ci.doctor.source import Function, inside

__all__ = ["RULES"]


def leaked(examined: Examined) -> Iterator[Problem]:
    for fixture in examined.tests.fixtures:
        function = fixture.function
        if function.is_async or fixture.scope != "function" or _resets(function):
            continue
        for node in inside(function.node):
            match node:
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=variable, attr="set"))) if _is_variable(
                    examined, function, variable
                ):
                    name = ast.unparse(variable)
                    if sum(ast.unparse(each).startswith(f"{name}.set(") for each in inside(function.node)) > 2:
                        continue  # set again in the teardown, which is a reset of a kind
                    yield problem(
                        "context.leaked_from_fixture",
                        source=fixture.source,
                        node=node,
                        name=fixture.name,
                        explanation=f"The synchronous fixture {fixture.name} sets {name} in pytest's own context and does not "
                        "reset it. It stays set for all later tests.",
                        fix=f"token = {name}.set(...), then after the yield {name}.reset(token).",
                        confidence=0.92,
                        edits=_with_reset(function, node, name),
                    )


def _resets(function: Function) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "reset" for node in inside(function.node))


def _is_variable(examined: Examined, function: Function, node: ast.expr) -> bool:
    thing = examined.things.of(function.source, node)
    return thing is not None and thing.kind == "context variable"


def _with_reset(function: Function, node: ast.Expr, name: str) -> Iterator[Edit]:
    body, source = function.node.body, function.source
    if (
        node not in body
        or "token" in local_names(function)
        or any(isinstance(each, ast.Return) for each in inside(function.node))
    ):
        return
    yields = [each for each in inside(function.node) if isinstance(each, ast.Yield)]
    last = body[-1]
    if not yields and last is node:
        yield insertion(source, node, "token = ")
        yield after_statement(source, node, ["yield", f"{name}.reset(token)"])
    elif len(yields) == 1 and isinstance(last, ast.Expr) and last.value is yields[0]:
        yield insertion(source, node, "token = ")
        yield after_statement(source, last, [f"{name}.reset(token)"])


def reset_elsewhere(examined: Examined) -> Iterator[Problem]:
    """An async fixture takes a token in its own context, and the test resets it in another."""
    for fixture in examined.tests.fixtures:
        if not examined.tests.is_on_asyncio(fixture):
            continue
        for node in inside(fixture.function.node):
            callee = examined.project.callee(fixture.source, node) if isinstance(node, ast.Call) else None
            if callee is None or callee.owner is None or not isinstance(node, ast.Call):
                continue
            token = _token(examined, callee)
            resetting = {
                each.name
                for each in callee.source.functions.values()
                if each.owner is callee.owner and token and f".reset({token})" in ast.unparse(each.node)
            }
            for test in examined.tests.tests:
                used = {
                    each.func.attr
                    for each in inside(test.function.node)
                    if isinstance(each, ast.Call)
                    and isinstance(each.func, ast.Attribute)
                    and ast.unparse(each.func.value) == fixture.name
                }
                started_here = callee.name in used
                if (
                    resetting & used
                    and not started_here
                    and examined.tests.find(fixture.name, test.function) is fixture
                ):
                    yield problem(
                        "context.token_reset_elsewhere",
                        source=fixture.source,
                        node=node,
                        name=fixture.name,
                        explanation=f"The async fixture {fixture.name} sets a context variable in a context of its own, and "
                        f"{test.function.name} resets that token in another. A token can be reset in its own context only.",
                        fix=f"Call {callee.name}() in the test, or set and reset both in the fixture.",
                        confidence=0.9,
                        tests=[test],
                    )
                    break


def _token(examined: Examined, function: Function) -> str:
    """Where a method stores the token of a context variable that it sets."""
    for node in inside(function.node):
        match node:
            case ast.Assign(
                targets=[ast.Attribute() as target], value=ast.Call(func=ast.Attribute(value=variable, attr="set"))
            ):
                if _is_variable(examined, function, variable):
                    return ast.unparse(target)
    return ""


RULES: tuple[Rule, ...] = (leaked, reset_elsewhere)
