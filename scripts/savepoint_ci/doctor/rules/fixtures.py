"""Fixtures that nobody drives, that cross tasks, or whose teardown comes too late."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.edits import import_line, replacement
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Source, inside
from savepoint_ci.doctor.tests import Fixture

__all__ = ["RULES"]

_CANCEL_SCOPES = {f"anyio.{name}" for name in ("create_task_group", "move_on_after", "fail_after", "CancelScope")}


def not_handled(examined: Examined) -> Iterator[Problem]:
    """In strict mode, a test of pytest-asyncio gets an async fixture that is declared with @pytest.fixture."""
    seen: set[ast.AST] = set()
    for test in examined.tests.tests:
        if test.runner != "asyncio" or not examined.project.suite(test.source).strict:
            continue
        for fixture in examined.tests.requested(test.function):
            function = fixture.function
            if (
                not function.is_async
                or fixture.by_pytest_asyncio
                or function.node in seen
                or _is_driven(examined, fixture)
            ):
                continue
            seen.add(function.node)
            head = fixture.decorator.func if isinstance(fixture.decorator, ast.Call) else fixture.decorator
            yield problem(
                "fixture.async_fixture_not_handled",
                source=fixture.source,
                node=fixture.decorator,
                name=fixture.name,
                explanation=f"The async fixture {fixture.name} is declared with @pytest.fixture, and in strict mode "
                f"pytest-asyncio does not run it. {test.function.name} gets a coroutine or generator object.",
                fix="Declare it with @pytest_asyncio.fixture, or set asyncio_mode = auto.",
                confidence=0.93,
                tests=[test],
                edits=[
                    replacement(fixture.source, head, "pytest_asyncio.fixture"),
                    import_line(fixture.source, "import pytest_asyncio"),
                ],
            )


def _is_driven(examined: Examined, fixture: Fixture) -> bool:
    """The anyio plugin runs it, for this test or for others."""
    suite = examined.project.suite(fixture.source)
    return any(
        "anyio_backend" in source.text or "mark.anyio" in source.text for source in examined.project.files(suite)
    )


def cancel_scope_crosses_tasks(examined: Examined) -> Iterator[Problem]:
    for fixture in examined.tests.fixtures:
        if not examined.tests.is_on_asyncio(fixture) or fixture.yields is None:
            continue
        if not fixture.by_pytest_asyncio and _is_driven(examined, fixture):
            continue
        for block in fixture.source.around(fixture.yields):
            if (
                not isinstance(block, ast.AsyncWith | ast.With)
                or fixture.source.function_of(block) is not fixture.function
            ):
                continue
            entered = next(
                (each for each in block.items if fixture.source.dotted(each.context_expr) in _CANCEL_SCOPES), None
            )
            if entered is None:
                continue
            yield problem(
                "fixture.cancel_scope_crosses_tasks",
                source=fixture.source,
                node=block,
                name=fixture.name,
                explanation=f"{fixture.name} yields inside {ast.unparse(entered.context_expr)}. pytest-asyncio runs its set-up "
                "and its teardown in two tasks, and anyio wants both in one.",
                fix="Start the work with asyncio.create_task, yield, then cancel and await it.",
                confidence=0.93,
            )


def teardown_order(examined: Examined) -> Iterator[Problem]:
    """A teardown uses what another fixture stores in a shared place, closes itself, and is not asked for."""
    closing = [(each, place) for each in examined.tests.fixtures for place in _closed_places(each)]
    for fixture in examined.tests.fixtures:
        used = {_place(fixture.source, node) for node in fixture.after_yield() if isinstance(node, ast.Attribute)}
        for owner, place in closing:
            if owner is fixture or place not in used or owner.autouse or owner.scope != fixture.scope:
                continue
            if owner in examined.tests.requested(fixture.function) or fixture in examined.tests.requested(
                owner.function
            ):
                continue
            name = ast.unparse(ast.parse(place[1]))
            yield problem(
                "fixture.teardown_order",
                source=fixture.source,
                node=fixture.function.node,
                name=fixture.name,
                explanation=f"The teardown of {fixture.name} uses {name}, which the fixture {owner.name} makes and closes. "
                f"{fixture.name} does not request {owner.name}, so pytest may close it first.",
                fix=f"Let {fixture.name} request {owner.name} and use it.",
                confidence=0.9,
            )


def _closed_places(fixture: Fixture) -> Iterator[tuple[str, str]]:
    """The attributes of classes and modules that a fixture sets, and closes in its teardown."""
    stored = {
        _place(fixture.source, node)
        for node in inside(fixture.function.node)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    for node in fixture.after_yield():
        if isinstance(node, ast.Attribute) and node.attr in ("close", "aclose", "dispose", "terminate", "disconnect"):
            place = _place(fixture.source, node.value)
            if place in stored and "." in place[1]:
                yield place


def _place(source: Source, node: ast.AST) -> tuple[str, str]:
    """A shared place: the file whose class or module it is, and its name there."""
    text = ast.unparse(node)
    root = text.partition(".")[0]
    return source.imports.get(root, str(source.path)), text


RULES: tuple[Rule, ...] = (not_handled, cancel_scope_crosses_tasks, teardown_order)
