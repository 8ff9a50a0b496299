"""Loops by declaration: `event_loop`, scopes of fixtures against scopes of loops, and loops inside loops."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.configuration import pytest_settings
from savepoint_ci.doctor.edits import Edit, argument, deletion, import_line, replacement, span, written
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside
from savepoint_ci.doctor.tests import Fixture, wider

__all__ = ["RULES"]

_ALEMBIC = {f"alembic.command.{name}" for name in ("upgrade", "downgrade", "stamp", "current", "check", "revision")}


def event_loop_override(examined: Examined) -> Iterator[Problem]:
    for fixture in examined.tests.fixtures:
        if fixture.name != "event_loop":
            continue
        yield problem(
            "loop.event_loop_fixture_removed",
            source=fixture.source,
            node=fixture.function.node,
            name="event_loop",
            explanation="This fixture overrides event_loop, which pytest-asyncio 1.0 removed. It is ignored without a word, "
            f"so the loop of scope {fixture.scope} that it makes runs nothing.",
            fix=_one_loop(fixture.scope),
            confidence=0.95,
            edits=[deletion(fixture.source, fixture.function.node), *_loop_settings(examined, fixture)],
        )


def _loop_settings(examined: Examined, fixture: Fixture) -> list[Edit]:
    """The settings that do what a wide override was written for."""
    if not wider(fixture.scope, "function"):
        return []
    names = ("asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
    return pytest_settings(examined.project.suite(fixture.source), dict.fromkeys(names, fixture.scope))


def _one_loop(scope: str) -> str:
    if scope == "function":
        return "Delete the fixture; every test has a loop of its own already."
    return (
        f"Delete the fixture and set asyncio_default_fixture_loop_scope = {scope} and "
        f"asyncio_default_test_loop_scope = {scope}."
    )


def event_loop_request(examined: Examined) -> Iterator[Problem]:
    functions = [each.function for each in examined.tests.tests]
    functions += [each.function for each in examined.tests.fixtures]
    for function in functions:
        parameter = next((each for each in function.parameters if each.arg == "event_loop"), None)
        if parameter is None or _is_given(function):
            continue
        yield problem(
            "loop.event_loop_fixture_removed",
            source=function.source,
            node=function.node,
            name=function.name,
            explanation=f"{function.name} requests the fixture event_loop, which pytest-asyncio 1.0 removed. Newer versions "
            "refuse to set it up.",
            fix="Drop the parameter and use asyncio.get_running_loop() inside the coroutine.",
            confidence=0.95,
            edits=_without_event_loop(function, parameter),
        )


def _is_given(function: Function) -> bool:
    """The name comes from parametrize."""
    return any("event_loop" in ast.unparse(each) for each in function.node.decorator_list)


def _without_event_loop(function: Function, parameter: ast.arg) -> Iterator[Edit]:
    uses = [each for each in ast.walk(function.node) if isinstance(each, ast.Name) and each.id == "event_loop"]
    arguments = function.parameters
    if (
        (uses and not function.is_async)
        or len(arguments) != len(function.node.args.args)
        or function.node.args.defaults
    ):
        return
    source = function.source
    start, end = span(source, arguments[0])[0], span(source, arguments[-1])[1]
    if "\n" in source.text[start:end]:
        return
    kept = [written(source, each) for each in arguments if each is not parameter]
    yield Edit(source.path, start, end, ", ".join(kept))
    for use in uses:
        yield replacement(source, use, "asyncio.get_running_loop()")
    if uses and (added := import_line(source, "import asyncio")):
        yield added


def fixture_wider_than_loop(examined: Examined) -> Iterator[Problem]:
    for fixture in examined.tests.fixtures:
        loop_scope = examined.tests.loop_scope(fixture)
        if not examined.tests.is_on_asyncio(fixture) or not wider(fixture.scope, loop_scope):
            continue
        if "anyio_backend" in {each.arg for each in fixture.function.parameters}:
            continue
        origin = "its loop_scope" if fixture.loop_scope else "asyncio_default_fixture_loop_scope"
        yield problem(
            "loop.fixture_wider_than_loop",
            source=fixture.source,
            node=fixture.decorator,
            name=fixture.name,
            explanation=f"The async fixture {fixture.name} has scope {fixture.scope}, but by {origin} its loop has scope "
            f"{loop_scope} and ends before it. pytest refuses to set it up.",
            fix=f'Give {fixture.name} loop_scope="{fixture.scope}", or set asyncio_default_fixture_loop_scope = '
            f"{fixture.scope}.",
            confidence=0.95,
            evidence=[f"{fixture.name}: scope {fixture.scope}, loop scope {loop_scope}"],
            edits=_with_loop_scope(fixture),
        )


def _with_loop_scope(fixture: Fixture) -> Iterator[Edit | None]:
    call, source = fixture.decorator, fixture.source
    if not isinstance(call, ast.Call) or fixture.loop_scope:
        return
    yield argument(source, call, f'loop_scope="{fixture.scope}"')
    if not fixture.by_pytest_asyncio:
        yield replacement(source, call.func, "pytest_asyncio.fixture")
        yield import_line(source, "import pytest_asyncio")


def loop_inside_loop(examined: Examined) -> Iterator[Problem]:
    for source in examined.project.sources.values():
        for function in source.functions.values():
            if not function.is_async:
                continue
            for node in inside(function.node):
                if isinstance(node, ast.Call) and (started := _starts_loop(examined, function, node)):
                    yield _reentry(function, node, started)


def _starts_loop(examined: Examined, function: Function, call: ast.Call) -> str:
    """Where a second loop is started by a call that a coroutine makes; empty when none is."""
    dotted = function.source.dotted(call.func)
    if dotted == "asyncio.run" and not _is_expected(function.source, call):
        return f"{function.source.path}:{call.lineno}"
    if dotted in _ALEMBIC and not examined.project.suite(function.source).managed:
        for source in examined.project.files(examined.project.suite(function.source)):
            if source.path.name == "env.py" and (run := _run_call(source)):
                return f"{source.path}:{run.lineno}"
    return ""


def _is_expected(source: Source, call: ast.Call) -> bool:
    """A test that wants the refusal, or that replaces asyncio.run."""
    around = [ast.unparse(item) for each in source.around(call) if isinstance(each, ast.With) for item in each.items]
    return any(word in text for text in around for word in ("raises", "patch", "warns"))


def _run_call(source: Source) -> ast.Call | None:
    calls = (node for node in source.nodes if isinstance(node, ast.Call))
    return next((call for call in calls if source.dotted(call.func) == "asyncio.run"), None)


def _reentry(function: Function, call: ast.Call, started: str) -> Problem:
    source, called = function.source, ast.unparse(call.func)
    edits: list[Edit | None] = []
    if called != "asyncio.run" and call.args:
        edits = [
            replacement(source, call.func, "await asyncio.to_thread"),
            Edit(source.path, *_at_first_argument(source, call), f"{written(source, call.func)}, "),
            import_line(source, "import asyncio"),
        ]
        advice = f"Move the call out of the loop: await asyncio.to_thread({called}, ...)."
    else:
        advice = "Await the coroutine itself."
    return problem(
        "loop.running_loop_reentry",
        source=source,
        node=call,
        name=function.name,
        explanation=f"{function.name} runs on a loop and calls {called}, which starts a second one at {started}. "
        "A thread has one running loop at a time.",
        fix=advice,
        confidence=0.95,
        edits=edits,
    )


def _at_first_argument(source: Source, call: ast.Call) -> tuple[int, int]:
    start, _ = span(source, call.args[0])
    return start, start


def current_loop_unset(examined: Examined) -> Iterator[Problem]:
    """A synchronous test asks for the current loop, and another leaves the thread without one."""
    project = examined.project
    synchronous = [test for test in examined.tests.tests if not test.function.is_async]
    calls = [
        (test, function, node)
        for test in synchronous
        for function in project.reached([test.function])
        for node in inside(function.node)
        if isinstance(node, ast.Call) and not function.is_async
    ]
    asking = [each for each in calls if each[1].source.dotted(each[2].func) == "asyncio.get_event_loop"]
    unsetting = [each for each in calls if each[1].source.dotted(each[2].func) == "asyncio.run"]
    for _, function, node in unsetting:
        victims = [
            (test, other, call)
            for test, other, call in asking
            if project.suite(other.source) is project.suite(function.source)
        ]
        if not victims:
            continue
        _, other, call = victims[0]
        asked = f"{other.source.path}:{call.lineno}"
        yield problem(
            "loop.current_loop_unset",
            source=function.source,
            node=node,
            name=function.name,
            explanation=f"asyncio.run() in {function.name} leaves the thread without a current event loop. {asked} asks for "
            "one outside of a coroutine, and fails when it comes later.",
            fix=f"Replace get_event_loop() at {asked} by asyncio.run() or an asyncio.Runner.",
            confidence=0.85,
            tests=dict.fromkeys(test for test, _, _ in victims),
        )
        return


RULES: tuple[Rule, ...] = (
    event_loop_override,
    event_loop_request,
    fixture_wider_than_loop,
    loop_inside_loop,
    current_loop_unset,
)
