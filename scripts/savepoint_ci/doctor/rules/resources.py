"""Engines, locks and workers that live longer than the loop they belong to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from savepoint_ci.doctor.parallel import groups
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside
from savepoint_ci.doctor.suite import SCOPES, Suite
from savepoint_ci.doctor.tests import Fixture, TestFunction, wider
from savepoint_ci.doctor.things import Thing

__all__ = ["RULES"]

_ONE_LOOP = "Run everything on one loop (asyncio_default_fixture_loop_scope = session and asyncio_default_test_loop_scope = session)"
_RUNS = ("asyncio.run",)


def _suites(examined: Examined) -> Iterator[tuple[Suite, list[TestFunction]]]:
    """The suites whose loops are decided by what is written: not by Savepoint, not by a hook that adds marks."""
    by_suite: dict[Suite, list[TestFunction]] = {}
    for test in examined.tests.tests:
        by_suite.setdefault(examined.project.suite(test.source), []).append(test)
    for suite, tests in by_suite.items():
        hooks = any("add_marker" in source.text for source in examined.project.files(suite))
        if not suite.managed and not hooks:
            yield suite, tests


def _narrow(tests: Iterable[TestFunction]) -> list[TestFunction]:
    """The tests that have a loop of their own each."""
    return [test for test in tests if test.runner == "asyncio" and test.loop_scope == "function"]


def _loops(tests: Iterable[TestFunction]) -> int:
    """On how many loops tests run at least; a parametrized test on several."""
    return sum(2 if any("parametrize" in ast.unparse(mark) for mark in test.marks) else 1 for test in tests)


def _functions(examined: Examined, test: TestFunction) -> list[Function]:
    """Everything of the project that runs for a test on its own loop, as far as calls show."""
    fixtures = [each for each in examined.tests.requested(test.function) if _width(examined, each) == "function"]
    return examined.project.reached([test.function, *(each.function for each in fixtures)])


def _width(examined: Examined, fixture: Fixture) -> str:
    return examined.tests.loop_scope(fixture) if fixture.function.is_async else fixture.scope


def _is_disposed(examined: Examined, pool: Thing, functions: Iterable[Function]) -> bool:
    for function in functions:
        for node in inside(function.node, nested=True):
            if isinstance(node, ast.Attribute) and node.attr in ("dispose", "close", "aclose", "terminate"):
                thing = examined.things.of(function.source, node.value)
                if thing and thing.call is pool.call:
                    return True
    return False


def _is_replaced(examined: Examined, suite: Suite, name: str) -> bool:
    """Tests put another object in the place of a module's name."""
    replaced = re.compile(rf"(setattr|patch)[^\n]*\b{re.escape(name)}\b|\.\b{re.escape(name)} = ")
    return any(replaced.search(source.text) for source in examined.project.files(suite))


def _name(source: Source, call: ast.Call) -> str:
    statement = source.parents[call]
    while not isinstance(statement, ast.stmt):
        statement = source.parents[statement]
    match statement:
        case ast.Assign(targets=[target, *_]) | ast.AnnAssign(target=target):
            return ast.unparse(target)
    return ast.unparse(call.func)


def pool_outlives_loop(examined: Examined) -> Iterator[Problem]:
    """A pool that is made once, at import or by a wide synchronous fixture, and used on the loop of each test."""
    for suite, tests in _suites(examined):
        users: dict[ast.Call, tuple[Thing, list[TestFunction], list[Function]]] = {}
        for test in _narrow(tests):
            functions = _functions(examined, test)
            for pool in {pool.call: pool for pool in _wide_pools(examined, test, functions)}.values():
                assert pool.call
                _, using, running = users.setdefault(pool.call, (pool, [], []))
                using.append(test)
                running += functions
        for call, (pool, using, running) in users.items():
            name = _name(pool.source, call)
            if _loops(using) < 2 or _is_disposed(examined, pool, running) or _is_replaced(examined, suite, name):
                continue
            yield problem(
                "loop.resource_outlived_loop",
                source=pool.source,
                node=call,
                name=name,
                explanation=f"{name} is made once and keeps connections in a pool, and each of {len(using)} tests uses it on "
                "a loop of its own. A pooled connection works on the loop that opened it only.",
                fix=f"{_ONE_LOOP} and dispose it at the end, or use poolclass=NullPool in tests.",
                confidence=0.9,
                tests=using,
            )


def _wide_pools(examined: Examined, test: TestFunction, functions: list[Function]) -> Iterator[Thing]:
    for function in functions:
        for thing in examined.things.shared(function):
            if thing.pool and thing.pool.call:
                yield thing.pool
    for fixture in examined.tests.requested(test.function):
        pool = _made_by(examined, fixture)
        if pool and wider(fixture.scope, "function") and not fixture.function.is_async:
            yield pool


def _made_by(examined: Examined, fixture: Fixture) -> Thing | None:
    """The pool that a fixture makes itself and gives."""
    thing = examined.things.given(fixture)
    made = thing and thing.pool
    if made and made.call and made.source is fixture.source and made.source.function_of(made.call) is fixture.function:
        return made
    return None


def scope_mismatch(examined: Examined) -> Iterator[Problem]:
    """A pool or connection of a fixture on a wide loop is used on the narrow loop of a test."""
    for suite, tests in _suites(examined):
        if any(
            each.name == "event_loop" and examined.project.suite(each.source) is suite
            for each in examined.tests.fixtures
        ):
            continue  # the override decides nothing; it is what to change first
        users: dict[Fixture, list[TestFunction]] = {}
        for test in tests:
            if test.runner != "asyncio" or test.loop_scope not in SCOPES:
                continue
            for fixture in examined.tests.requested(test.function):
                wide = examined.tests.loop_scope(fixture)
                made = examined.tests.is_on_asyncio(fixture) and _bound(examined, fixture)
                if made and wider(wide, test.loop_scope) and _is_used_below(examined, test, made, wide):
                    users.setdefault(fixture, []).append(test)
        for fixture, using in users.items():
            wide, narrow = examined.tests.loop_scope(fixture), using[0].loop_scope
            yield problem(
                "loop.scope_mismatch",
                source=fixture.source,
                node=fixture.decorator,
                name=fixture.name,
                explanation=f"The fixture {fixture.name} lives on pytest-asyncio's {wide} loop, and {using[0].function.name} "
                f"runs on a {narrow} loop. A connection works on the loop that opened it only.",
                fix=f"Either {_ONE_LOOP[0].lower()}{_ONE_LOOP[1:]}, or make {fixture.name} as narrow as the tests' loop.",
                confidence=0.92,
                tests=using,
            )


def _bound(examined: Examined, fixture: Fixture) -> Thing | None:
    """What a fixture itself makes and gives that belongs to its loop."""
    if made := _made_by(examined, fixture):
        return made
    thing = examined.things.given(fixture)
    if thing and thing.kind == "connection" and thing.engine is None and thing.call:
        return thing if thing.source.function_of(thing.call) is fixture.function else None
    return None


def _is_used_below(examined: Examined, test: TestFunction, made: Thing, wide: str) -> bool:
    """The test, or a fixture on a narrower loop, is given the thing itself or what was made from it."""
    narrow = [
        each.function
        for each in examined.tests.requested(test.function)
        if examined.tests.is_on_asyncio(each) and wider(wide, examined.tests.loop_scope(each))
    ]
    for function in (test.function, *narrow):
        for thing in examined.things.parameters(function):
            if made.call in (thing.call, thing.engine and thing.engine.call):
                return True
    return False


def asyncio_run_in_fixture(examined: Examined) -> Iterator[Problem]:
    """A synchronous fixture uses a pool on the loop of asyncio.run, and tests use it on theirs."""
    for suite, tests in _suites(examined):
        fixtures = [
            each
            for each in examined.tests.fixtures
            if not each.function.is_async and examined.project.suite(each.source) is suite
        ]
        for fixture in fixtures:
            calls = (node for node in inside(fixture.function.node) if isinstance(node, ast.Call))
            run = next((call for call in calls if _runs_loop(fixture.source, call)), None)
            if run is None:
                continue
            functions = examined.project.reached([fixture.function])
            for pool in _shared_pools(examined, functions):
                using = [
                    test
                    for test in tests
                    if test.runner == "asyncio"
                    and any(each.call is pool.call for each in _shared_pools(examined, _all_functions(examined, test)))
                ]
                if not using or _is_disposed(examined, pool, functions):
                    continue
                assert pool.call
                name = _name(pool.source, pool.call)
                yield problem(
                    "loop.asyncio_run_in_fixture",
                    source=fixture.source,
                    node=run,
                    name=fixture.name,
                    explanation=f"The fixture {fixture.name} runs a loop of its own with asyncio.run(), and {name} "
                    f"({pool.source.path}:{pool.call.lineno}) keeps a connection of it for the tests. A pooled connection "
                    "works on the loop that opened it only.",
                    fix=f"Make {fixture.name} an async fixture on the tests' loop, or give it an engine of its own with "
                    "poolclass=NullPool that it disposes.",
                    confidence=0.93,
                    tests=using,
                )
                break


def _runs_loop(source: Source, node: ast.Call) -> bool:
    return source.dotted(node.func) in _RUNS or (
        isinstance(node.func, ast.Attribute) and node.func.attr == "run_until_complete"
    )


def _shared_pools(examined: Examined, functions: Iterable[Function]) -> list[Thing]:
    things = (thing.pool for function in functions for thing in examined.things.shared(function))
    return list({each.call: each for each in things if each}.values())


def _all_functions(examined: Examined, test: TestFunction) -> list[Function]:
    fixtures = [each for each in examined.tests.requested(test.function) if examined.tests.is_on_asyncio(each)]
    return examined.project.reached([test.function, *(each.function for each in fixtures)])


def two_plugins(examined: Examined) -> Iterator[Problem]:
    """A test of the anyio plugin gets what a fixture of pytest-asyncio opened."""
    for test in examined.tests.tests:
        if test.runner != "anyio":
            continue
        mark = next(each for each in test.marks if test.source.dotted(each) == "pytest.mark.anyio")
        for fixture in examined.tests.requested(test.function):
            thing = fixture.by_pytest_asyncio and examined.things.given(fixture)
            if thing and (thing.pool or thing.kind in ("connection", "session", "pool")):
                yield problem(
                    "loop.two_async_plugins",
                    source=test.source,
                    node=mark,
                    name=test.function.name,
                    explanation=f"{test.function.name} is run by the anyio plugin, and {fixture.name} was made on a loop of "
                    "pytest-asyncio. Two async plugins mean two loops, and a connection works on its own loop only.",
                    fix="Run the test and all its fixtures with one plugin: drop the other one's marker and backend fixture.",
                    confidence=0.92,
                    tests=[test],
                )
                break


def primitive_at_import(examined: Examined) -> Iterator[Problem]:
    """A lock of the whole process is contended in several tests, each on a loop of its own."""
    for _, tests in _suites(examined):
        contended: dict[ast.Call, tuple[Thing, list[TestFunction]]] = {}
        for test in _narrow(tests):
            for thing in _contended(examined, test):
                assert thing.call
                contended.setdefault(thing.call, (thing, []))[1].append(test)
        for call, (thing, using) in contended.items():
            if _loops(using) < 2:
                continue
            name = _name(thing.source, call)
            yield problem(
                "loop.primitive_bound_to_old_loop",
                source=thing.source,
                node=call,
                name=name,
                explanation=f"{name} is made at import and binds itself to the first loop on which it is waited for. "
                f"{len(using)} tests contend for it, each on a loop of its own.",
                fix=f"Make {name} where it is used, per object or per loop, not at import. Or: {_ONE_LOOP}.",
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
    for _, tests in _suites(examined):
        users: dict[ast.Assign, tuple[Function, list[TestFunction]]] = {}
        for test in _narrow(tests):
            for function in _functions(examined, test):
                for statement in _lazy_tasks(function):
                    if _is_global(examined, test, function):
                        users.setdefault(statement, (function, []))[1].append(test)
        for statement, (function, using) in users.items():
            target = ast.unparse(statement.targets[0])
            if _loops(using) < 2 or _is_reset(project.files(project.suite(using[0].source)), target, function):
                continue
            yield problem(
                "loop.worker_died_with_loop",
                source=function.source,
                node=statement,
                name=target,
                explanation=f"{function.name} starts {target} once, on first use, and it ends with the loop of the test that "
                f"came first. {len(using)} tests use it, each on a loop of its own.",
                fix="Start and stop the worker in a fixture, once per loop (or in the application's lifespan), or: "
                f"{_ONE_LOOP}.",
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
    for function in _functions(examined, test):
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


RULES: tuple[Rule, ...] = (
    pool_outlives_loop,
    scope_mismatch,
    asyncio_run_in_fixture,
    two_plugins,
    primitive_at_import,
    worker_dies_with_loop,
)
