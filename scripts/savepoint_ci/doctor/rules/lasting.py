"""Locks and background workers of the whole process that belong to the loop of one test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from savepoint_ci.doctor.narrow import ONE_LOOP, functions_of, loops_at_least, name_of, on_own_loops, suites_with_tests
from savepoint_ci.doctor.parallel import groups
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside
from savepoint_ci.doctor.tests import TestFunction
from savepoint_ci.doctor.things import Thing

__all__ = ["RULES"]


def primitive_at_import(examined: Examined) -> Iterator[Problem]:
    """A lock of the whole process is contended in several tests, each on a loop of its own."""
    for _, tests in suites_with_tests(examined):
        contended: dict[ast.Call, tuple[Thing, list[TestFunction]]] = {}
        for test in on_own_loops(tests):
            for thing in _contended(examined, test):
                assert thing.call
                contended.setdefault(thing.call, (thing, []))[1].append(test)
        for call, (thing, using) in contended.items():
            if loops_at_least(using) < 2:
                continue
            name = name_of(thing.source, call)
            yield problem(
                "loop.primitive_bound_to_old_loop",
                source=thing.source,
                node=call,
                name=name,
                explanation=f"{name} is made at import and binds itself to the first loop on which it is waited for. "
                f"{len(using)} tests contend for it, each on a loop of its own.",
                fix=f"Make {name} where it is used, per object or per loop, not at import. Or: {ONE_LOOP}.",
                confidence=0.85,
                tests=using,
            )


def _contended(examined: Examined, test: TestFunction) -> list[Thing]:
    found: dict[ast.Call, Thing] = {}
    for function in examined.project.reached([test.function]):
        for group in groups(function):
            if len(group.branches) < 2 and not any(each.repeated for each in group.branches):
                continue
            callees = [examined.project.callee(function.source, each.call) for each in group.branches]
            for callee in examined.project.reached(each for each in callees if each):
                for thing in examined.things.shared(callee):
                    if thing.kind == "primitive" and thing.call:
                        found[thing.call] = thing
    return list(found.values())


def worker_dies_with_loop(examined: Examined) -> Iterator[Problem]:
    """One object of the process starts its background task on first use, in the loop of whichever test comes first."""
    project = examined.project
    for _, tests in suites_with_tests(examined):
        users: dict[ast.Assign, tuple[Function, list[TestFunction]]] = {}
        for test in on_own_loops(tests):
            for function in functions_of(examined, test):
                for statement in _lazy_tasks(function):
                    if _is_global(examined, test, function):
                        users.setdefault(statement, (function, []))[1].append(test)
        for statement, (function, using) in users.items():
            target = ast.unparse(statement.targets[0])
            if loops_at_least(using) < 2 or _is_reset(project.files(project.suite(using[0].source)), target, function):
                continue
            yield problem(
                "loop.worker_died_with_loop",
                source=function.source,
                node=statement,
                name=target,
                explanation=f"{function.name} starts {target} once, on first use, and it ends with the loop of the test that "
                f"came first. {len(using)} tests use it, each on a loop of its own.",
                fix="Start and stop the worker in a fixture, once per loop (or in the application's lifespan), or: "
                f"{ONE_LOOP}.",
                confidence=0.85,
                tests=using,
            )


def _lazy_tasks(function: Function) -> Iterator[ast.Assign]:
    for node in inside(function.node):
        match node:
            case ast.If(test=ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)]), body=body):
                wanted = ast.unparse(left)
            case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=left), body=body):
                wanted = ast.unparse(left)
            case _:
                continue
        for statement in body:
            match statement:
                case ast.Assign(targets=[target], value=ast.Call(func=called)) if ast.unparse(target) == wanted:
                    if function.source.dotted(called) in ("asyncio.create_task", "asyncio.ensure_future"):
                        yield statement


def _is_global(examined: Examined, test: TestFunction, method: Function) -> bool:
    """The object whose method it is lives at module level."""
    if method.owner is None:
        return any(isinstance(node, ast.Global) for node in inside(method.node))
    for function in functions_of(examined, test):
        for call, callee in examined.project.calls(function):
            if callee is method and isinstance(call.func, ast.Attribute):
                value = call.func.value
                found = examined.project.definition(function.source, value)
                if found and found.value is not None:
                    return True
    return False


def _is_reset(sources: list[Source], target: str, function: Function) -> bool:
    name = re.escape(target.rpartition(".")[2])
    reset = re.compile(rf"\b{name} = None")
    cancelled = re.compile(rf"\b{name}\.cancel\(")
    own = sum(
        each.name == "__init__" and bool(reset.search(ast.unparse(each.node)))
        for each in function.source.functions.values()
    )
    module = 0 if function.owner else 1
    resets = sum(len(reset.findall(source.text)) for source in sources)
    return resets > max(own, module) or any(cancelled.search(source.text) for source in sources)


RULES: tuple[Rule, ...] = (primitive_at_import, worker_dies_with_loop)
