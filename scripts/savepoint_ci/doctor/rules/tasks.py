"""Coroutines that nobody awaits, tasks that do not let themselves be cancelled, threads that stay."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.edits import insertion
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside, is_async_generator

__all__ = ["RULES"]

_PLAIN_DECORATORS = (
    "staticmethod",
    "classmethod",
    "abstractmethod",
    "abc.abstractmethod",
    "override",
    "typing.override",
)
_EXPECTING = ("raises", "warns", "catch_warnings", "deprecated_call", "suppress")


def never_awaited(examined: Examined) -> Iterator[Problem]:
    for source in examined.project.sources.values():
        for node in source.nodes:
            if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
                continue
            callee = examined.project.callee(source, node.value)
            if callee is None or not callee.is_async or is_async_generator(callee) or _is_expected(source, node):
                continue
            if not _is_plain(callee) or _is_overridden(examined, callee) or _is_replaced(source, callee):
                continue
            caller = source.function_of(node)
            name = caller.name if caller else source.path.stem
            yield problem(
                "task.coroutine_never_awaited",
                source=source,
                node=node,
                name=name,
                explanation=f"{name} calls the coroutine function {callee.name} and does not await it. Nothing of "
                f"{callee.name} runs.",
                fix=f"await {ast.unparse(node.value)}",
                confidence=0.95,
                edits=[insertion(source, node, "await ")] if caller and caller.is_async else [],
            )


def _is_expected(source: Source, node: ast.AST) -> bool:
    blocks = [each for each in source.around(node) if isinstance(each, ast.With | ast.AsyncWith)]
    return any(word in ast.unparse(item.context_expr) for each in blocks for item in each.items for word in _EXPECTING)


def _is_plain(function: Function) -> bool:
    """No decorator makes something else of it."""
    return all(ast.unparse(each) in _PLAIN_DECORATORS for each in function.node.decorator_list)


def _is_overridden(examined: Examined, function: Function) -> bool:
    """A subclass may have a synchronous method of that name."""
    if function.owner is None:
        return False
    for source in examined.project.sources.values():
        for other in source.functions.values():
            if other.name == function.name and not other.is_async and other.owner:
                bases = {ast.unparse(base).rpartition(".")[2] for base in other.owner.bases}
                if function.owner.name in bases:
                    return True
    return False


def _is_replaced(source: Source, function: Function) -> bool:
    """A test has put a stand-in there."""
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(each, ast.Attribute) and each.attr == function.name for each in node.targets)
        for node in source.nodes
    )


def ignores_cancellation(examined: Examined) -> Iterator[Problem]:
    """An endless loop swallows its cancellation and goes on."""
    for source in examined.project.sources.values():
        for function in source.functions.values():
            for loop in inside(function.node):
                if not function.is_async or not _is_endless(loop):
                    continue
                for block in loop.body if isinstance(loop, ast.While) else ():
                    handler = _swallowing(source, block)
                    if handler is None:
                        continue
                    caught = f"except {ast.unparse(handler.type)}" if handler.type else "except"
                    yield problem(
                        "task.ignores_cancellation",
                        source=source,
                        node=handler,
                        name=function.name,
                        explanation=f"{function.name} catches its cancellation with {caught} and goes on with its endless loop. "
                        "Whoever ends the event loop waits for it for ever.",
                        fix="Catch Exception, or raise asyncio.CancelledError again.",
                        confidence=0.93,
                    )


def _is_endless(node: ast.AST) -> bool:
    return isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and bool(node.test.value)


def _swallowing(source: Source, block: ast.stmt) -> ast.ExceptHandler | None:
    """The handler that catches a cancellation which arrives in the block, and leads back into the loop."""
    if not isinstance(block, ast.Try) or not any(
        isinstance(node, ast.Await) for each in block.body for node in ast.walk(each)
    ):
        return None
    for handler in block.handlers:
        names = (
            [] if handler.type is None else handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        )
        caught = {source.dotted(name) or ast.unparse(name) for name in names}
        leaves = any(isinstance(node, ast.Raise | ast.Break | ast.Return) for node in ast.walk(handler))
        exits = any(isinstance(node, ast.Call) and "exit" in ast.unparse(node.func) for node in ast.walk(handler))
        if not names or caught & {"BaseException", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"}:
            return None if leaves or exits else handler
    return None


def thread_left_running(examined: Examined) -> Iterator[Problem]:
    """A fixture opens an aiosqlite connection, whose thread is no daemon, and nobody closes it."""
    for fixture in examined.tests.fixtures:
        source, function = fixture.source, fixture.function
        for node in inside(function.node):
            if not isinstance(node, ast.Await) or source.dotted(node.value) != "aiosqlite.connect":
                continue
            closers = (each for file in examined.project.files(examined.project.suite(source)) for each in file.nodes)
            if any(isinstance(each, ast.Attribute) and each.attr in ("close", "aclose", "stop") for each in closers):
                continue
            yield problem(
                "thread.non_daemon_left_running",
                source=source,
                node=node,
                name=fixture.name,
                explanation=f"{fixture.name} opens an aiosqlite connection and nobody closes it. Its thread is no daemon and "
                "keeps the interpreter alive after the last test.",
                fix="async with aiosqlite.connect(...) as db: ... yield db",
                confidence=0.9,
            )


RULES: tuple[Rule, ...] = (never_awaited, ignores_cancellation, thread_left_running)
