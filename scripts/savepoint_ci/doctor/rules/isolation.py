"""Isolation that does not isolate: transactions without a savepoint, migrations beside tests, tables for every test."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from savepoint_ci.doctor.edits import argument
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, has_splat, inside, keyword
from savepoint_ci.doctor.suite import Suite

__all__ = ["RULES"]

_FILE_CONFIG = "logging.config.fileConfig"


def joined_without_savepoint(examined: Examined) -> Iterator[Problem]:
    """A session joins a transaction that its fixture rolls back, and the application rolls back too."""
    for fixture in examined.tests.fixtures:
        function = fixture.function
        text = ast.unparse(function.node)
        if "begin_nested" in text or "listens_for" in text or "event.listen" in text or ".rollback()" not in text:
            continue
        for node in inside(function.node):
            if not isinstance(node, ast.Call) or keyword(node, "join_transaction_mode") or has_splat(node):
                continue
            thing = examined.things.of(function.source, node)
            bound = keyword(node, "bind") or (node.args[0] if node.args else None)
            if not thing or thing.kind != "session" or thing.call is not node or not isinstance(bound, ast.Name):
                continue
            connection = examined.things.of(function.source, bound)
            begun = f"{bound.id}.begin()" in text
            if connection and connection.kind == "connection" and begun and _rolls_back(examined, function):
                yield problem(
                    "state.rollback_isolation_broken",
                    source=function.source,
                    node=node,
                    name=fixture.name,
                    explanation=f"{fixture.name} gives a session that joins its outer transaction without a savepoint. The "
                    "first rollback in the application or a test ends that transaction, with all that fixtures put in.",
                    fix='Make the session with join_transaction_mode="create_savepoint".',
                    confidence=0.9,
                    edits=[argument(function.source, node, 'join_transaction_mode="create_savepoint"')],
                )


def _rolls_back(examined: Examined, own: Function) -> bool:
    suite = examined.project.suite(own.source)
    for source in examined.project.files(suite):
        for function in source.functions.values():
            if function is not own and any(
                isinstance(node, ast.Attribute) and node.attr == "rollback" for node in inside(function.node)
            ):
                return True
    return False


def logging_disabled(examined: Examined) -> Iterator[Problem]:
    """Migrations run in the process of the tests and disable the loggers that other tests read."""
    for source in examined.project.sources.values():
        for node in source.nodes:
            if not isinstance(node, ast.Call) or source.dotted(node.func) != _FILE_CONFIG or has_splat(node):
                continue
            suite = examined.project.suite(source)
            if keyword(node, "disable_existing_loggers") or source.path.name != "env.py" or suite.managed:
                continue
            readers = [
                test for test in examined.tests.of(suite) if any(a.arg == "caplog" for a in test.function.parameters)
            ]
            if readers and _migrates(examined, suite):
                yield problem(
                    "state.logging_disabled",
                    source=source,
                    node=node,
                    name="fileConfig",
                    explanation="The suite runs migrations in its own process, and fileConfig() disables every logger that "
                    f"exists then. {readers[0].function.name} reads the log and sees nothing when it comes later.",
                    fix="fileConfig(..., disable_existing_loggers=False)",
                    confidence=0.92,
                    tests=readers,
                    edits=[argument(source, node, "disable_existing_loggers=False")],
                )


def _migrates(examined: Examined, suite: Suite) -> bool:
    starts = [each.function for each in examined.tests.of(suite)]
    starts += [each.function for each in examined.tests.fixtures]
    for function in examined.project.reached(starts):
        if examined.project.suite(function.source) is suite:
            for node in inside(function.node, nested=True):
                if isinstance(node, ast.Attribute) and function.source.dotted(node).startswith("alembic.command."):
                    return True
    return False


def schema_per_test(examined: Examined) -> Iterator[Problem]:
    """Every test makes all tables and drops them again."""
    for fixture in examined.tests.fixtures:
        if fixture.scope != "function" or not fixture.function.is_async:
            continue
        made = _run_sync(fixture.function, "create_all")
        if (
            made is None
            or not _run_sync(fixture.function, "drop_all")
            or any("sqlite" in source.text for source in _near(examined, fixture.source))
        ):
            continue
        yield problem(
            "state.schema_made_per_test",
            source=fixture.source,
            node=made,
            name=fixture.name,
            explanation=f"{fixture.name} creates every table before a test and drops them after it. That is the slowest "
            "isolation there is, and it cannot run beside itself on one database.",
            fix="Make the schema once (a session-scoped fixture, or Savepoint's template), and roll back or clear rows.",
            confidence=0.8,
        )


def _run_sync(function: Function, name: str) -> ast.Call | None:
    for node in inside(function.node):
        match node:
            case ast.Call(func=ast.Attribute(attr="run_sync"), args=[ast.Attribute(attr=attribute), *_]) if (
                attribute == name
            ):
                return node
    return None


def _near(examined: Examined, source: Source) -> list[Source]:
    return examined.project.files(examined.project.suite(source))


RULES: tuple[Rule, ...] = (joined_without_savepoint, logging_disabled, schema_per_test)
