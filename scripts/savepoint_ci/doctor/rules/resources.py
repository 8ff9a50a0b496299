"""Pools and connections that are used on another loop than the one they belong to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from savepoint_ci.doctor.narrow import ONE_LOOP, functions_of, loops_at_least, name_of, on_own_loops, suites_with_tests
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside
from savepoint_ci.doctor.suite import SCOPES, Suite
from savepoint_ci.doctor.tests import Fixture, TestFunction, wider
from savepoint_ci.doctor.things import Thing

__all__ = ["RULES"]

_RUNS = ("asyncio.run",)


def _is_disposed(examined: Examined, pool: Thing, functions: Iterable[Function]) -> bool:
    for function in functions:
        for node in inside(function.node, nested=True):
            if isinstance(node, ast.Attribute) and node.attr in ("dispose", "close", "aclose", "terminate"):
                thing = examined.things.of(function.source, node.value)
                if thing and thing.call is pool.call:
                    return True
    return False


def _is_replaced(examined: Examined, suite: Suite, pool: Thing, names: Iterable[str]) -> bool:
    """Tests put another object in the place of one of a module's names, or answer in place of the network."""
    either = "|".join(map(re.escape, names))
    mocks = "" if pool.kind != "client" else r"|\b(respx|httpx_mock|MockTransport|fakeredis|vcr)\b"
    replaced = re.compile(rf"(setattr|patch)[^\n]*\b({either})\b|\.\b({either}) = {mocks}")
    return any(replaced.search(source.text) for source in examined.project.files(suite))


def pool_outlives_loop(examined: Examined) -> Iterator[Problem]:
    """A pool that is made once, at import or by a wide synchronous fixture, and used on the loop of each test."""
    for suite, tests in suites_with_tests(examined):
        users: dict[ast.Call, tuple[Thing, list[TestFunction], list[Function]]] = {}
        for test in on_own_loops(tests):
            functions = functions_of(examined, test)
            for pool in {pool.call: pool for pool in _wide_pools(examined, test, functions)}.values():
                assert pool.call
                _, using, running = users.setdefault(pool.call, (pool, [], []))
                using.append(test)
                running += functions
        for call, (pool, using, running) in users.items():
            name = name_of(pool.source, call)
            # Whoever mocks the network mocks the functions that would use it.
            names = {name, *(each.name for each in running if pool.kind == "client")}
            if (
                loops_at_least(using) < 2
                or _is_disposed(examined, pool, running)
                or _is_replaced(examined, suite, pool, names)
            ):
                continue
            yield problem(
                "loop.resource_outlived_loop",
                source=pool.source,
                node=call,
                name=name,
                explanation=f"{name} is made once and keeps connections in a pool, and each of {len(using)} tests uses it on "
                "a loop of its own. A pooled connection works on the loop that opened it only.",
                fix=f"{ONE_LOOP} and close it at the end."
                if pool.kind == "client"
                else f"{ONE_LOOP} and dispose it at the end, or use poolclass=NullPool in tests.",
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
    for suite, tests in suites_with_tests(examined):
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
                fix=f"Either {ONE_LOOP[0].lower()}{ONE_LOOP[1:]}, or make {fixture.name} as narrow as the tests' loop.",
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
    for suite, tests in suites_with_tests(examined):
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
                name = name_of(pool.source, pool.call)
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


RULES: tuple[Rule, ...] = (pool_outlives_loop, scope_mismatch, asyncio_run_in_fixture, two_plugins)
