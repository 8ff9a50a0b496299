"""Tests that have a loop of their own each, and what runs on it: where long-lived things get into trouble."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from savepoint_ci.doctor.problem import Examined
from savepoint_ci.doctor.source import Function, Source
from savepoint_ci.doctor.suite import Suite
from savepoint_ci.doctor.tests import Fixture, TestFunction

__all__ = ["ONE_LOOP", "functions_of", "loops_at_least", "name_of", "on_own_loops", "suites_with_tests"]

ONE_LOOP = "Run everything on one loop (asyncio_default_fixture_loop_scope = session and asyncio_default_test_loop_scope = session)"


def suites_with_tests(examined: Examined) -> Iterator[tuple[Suite, list[TestFunction]]]:
    """The suites whose loops are decided by what is written: not by Savepoint, not by a hook that adds marks."""
    by_suite: dict[Suite, list[TestFunction]] = {}
    for test in examined.tests.tests:
        by_suite.setdefault(examined.project.suite(test.source), []).append(test)
    for suite, tests in by_suite.items():
        hooks = any("add_marker" in source.text for source in examined.project.files(suite))
        if not suite.managed and not hooks:
            yield suite, tests


def on_own_loops(tests: Iterable[TestFunction]) -> list[TestFunction]:
    """The tests that have a loop of their own each."""
    return [test for test in tests if test.runner == "asyncio" and test.loop_scope == "function"]


def loops_at_least(tests: Iterable[TestFunction]) -> int:
    """On how many loops tests run at least; a parametrized test on several."""
    return sum(2 if any("parametrize" in ast.unparse(mark) for mark in test.marks) else 1 for test in tests)


def functions_of(examined: Examined, test: TestFunction) -> list[Function]:
    """Everything of the project that runs for a test on its own loop, as far as calls show."""
    fixtures = [each for each in examined.tests.requested(test.function) if _width(examined, each) == "function"]
    return examined.project.reached([test.function, *(each.function for each in fixtures)])


def _width(examined: Examined, fixture: Fixture) -> str:
    return examined.tests.loop_scope(fixture) if fixture.function.is_async else fixture.scope


def name_of(source: Source, call: ast.Call) -> str:
    statement = source.parents[call]
    while not isinstance(statement, ast.stmt):
        statement = source.parents[statement]
    match statement:
        case ast.Assign(targets=[target, *_]) | ast.AnnAssign(target=target):
            return ast.unparse(target)
    return ast.unparse(call.func)
