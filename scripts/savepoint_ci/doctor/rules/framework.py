"""The application under test: its client, its start-up, its dependency overrides."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from savepoint_ci.doctor.edits import Edit, after_statement, import_line, replacement, span, written
from savepoint_ci.doctor.problem import Examined, Problem, Rule, problem
from savepoint_ci.doctor.source import Function, Source, inside, keyword
from savepoint_ci.doctor.suite import Suite
from savepoint_ci.doctor.tests import is_test_file

__all__ = ["RULES"]

_CLIENT, _TRANSPORT = "httpx.AsyncClient", "httpx.ASGITransport"


def client_app_argument(examined: Examined) -> Iterator[Problem]:
    for source in examined.project.sources.values():
        for node in source.nodes:
            if not isinstance(node, ast.Call) or source.dotted(node.func) != _CLIENT:
                continue
            app = next((each for each in node.keywords if each.arg == "app"), None)
            if app is None or keyword(node, "transport"):
                continue
            owner = source.function_of(node)
            yield problem(
                "framework.client_app_removed",
                source=source,
                node=node,
                name=owner.name if owner else "AsyncClient",
                explanation="AsyncClient is given the application as app=, which httpx 0.28 removed. It raises TypeError.",
                fix=f"AsyncClient(transport=ASGITransport(app={ast.unparse(app.value)}), ...)",
                confidence=0.95,
                edits=_with_transport(source, node, app),
            )


def _with_transport(source: Source, call: ast.Call, app: ast.keyword) -> Iterator[Edit | None]:
    known = next((name for name, dotted in source.imports.items() if dotted == _TRANSPORT), "")
    whole = f"{ast.unparse(call.func.value)}.ASGITransport" if isinstance(call.func, ast.Attribute) else known
    start, _ = span(source, app.value)
    before = source.text.rindex("app", 0, start)
    _, end = span(source, app.value)
    yield Edit(source.path, before, end, f"transport={whole or 'ASGITransport'}(app={written(source, app.value)})")
    if not whole:
        yield _import_transport(source)


def _import_transport(source: Source) -> Edit | None:
    """ASGITransport beside the names that are imported from httpx already."""
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "httpx" and node.lineno == node.end_lineno:
            names = sorted([*(ast.unparse(each) for each in node.names), "ASGITransport"])
            return replacement(source, node, f"from httpx import {', '.join(names)}")
    return import_line(source, "from httpx import ASGITransport")


def lifespan_not_run(examined: Examined) -> Iterator[Problem]:
    """The client does not run the start-up that puts into app.state what routes read."""
    for source in examined.project.sources.values():
        for node in source.nodes:
            if not isinstance(node, ast.Call) or source.dotted(node.func) != _TRANSPORT:
                continue
            given = keyword(node, "app") or (node.args[0] if node.args else None)
            app = examined.things.of(source, given)
            owner = source.function_of(node)
            if not app or app.kind != "app" or not app.call or not owner or not _is_of_tests(examined, owner):
                continue
            lifespan = keyword(app.call, "lifespan")
            start = examined.project.definition(app.source, lifespan) if lifespan is not None else None
            function = start.source.functions.get(start.node) if start else None
            needed = _states(function) & _read_states(examined, app.source, function) if function else set()
            if function and needed and not _is_started(examined, examined.project.suite(source), function, needed):
                name = min(needed)
                yield problem(
                    "framework.lifespan_not_run",
                    source=source,
                    node=node,
                    name=owner.name,
                    explanation=f"ASGITransport sends requests and does not run the application's lifespan, which sets "
                    f"app.state.{name}. Routes that read it fail.",
                    fix="Enter app.router.lifespan_context(app) around the client.",
                    confidence=0.9,
                )


def _is_of_tests(examined: Examined, function: Function) -> bool:
    path = function.source.path
    return path.name == "conftest.py" or is_test_file(path) or examined.tests.fixture_of(function) is not None


def _states(function: Function) -> set[str]:
    return {
        node.attr
        for node in inside(function.node)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value).endswith("state")
    }


def _read_states(examined: Examined, source: Source, lifespan: Function) -> set[str]:
    found = set()
    for file in examined.project.files(examined.project.suite(source)):
        for node in file.nodes:
            match node:
                case ast.Attribute(value=owner, attr=name, ctx=ast.Load()) if ast.unparse(owner).endswith("app.state"):
                    if file.function_of(node) is not lifespan:
                        found.add(name)
    return found


def _is_started(examined: Examined, suite: Suite, lifespan: Function, needed: set[str]) -> bool:
    """Somebody runs the lifespan, or sets what it would set."""
    called = re.compile(rf"(?<!def )\b{re.escape(lifespan.name)}\(")
    for source in examined.project.files(suite):
        if any(word in source.text for word in ("lifespan_context", "LifespanManager", "TestClient(")):
            return True
        if called.search(source.text):
            return True
        is_tests = source.path.name == "conftest.py" or is_test_file(source.path)
        if is_tests and any(f"state.{name} =" in source.text or f'"{name}"' in source.text for name in needed):
            return True
    return False


def dependency_override_leaked(examined: Examined) -> Iterator[Problem]:
    """What a function-scoped fixture or test puts into dependency_overrides stays, and nothing takes it out."""
    functions = [each.function for each in examined.tests.fixtures if each.scope == "function"]
    functions += [each.function for each in examined.tests.tests]
    for function in functions:
        if "dependency_overrides" not in function.source.text:
            continue
        suite = examined.project.suite(function.source)
        if suite.managed or _clears(examined, suite):
            continue  # Savepoint puts overrides back after every test
        for node in inside(function.node):
            match node:
                case ast.Assign(
                    targets=[ast.Subscript(value=ast.Attribute(attr="dependency_overrides") as overrides, slice=key)]
                ):
                    if _shared_app(function, overrides):
                        yield _leaked(function, node, overrides, key)


def _shared_app(function: Function, overrides: ast.Attribute) -> bool:
    """The application lives longer than the test: it is no local of it and no argument."""
    root: ast.expr = overrides
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id in function.source.imports


def _clears(examined: Examined, suite: Suite) -> bool:
    """Some test file takes overrides out again."""
    sources = [each for each in examined.project.files(suite) if "dependency_overrides" in each.text]
    for source in sources:
        for node in source.nodes:
            if isinstance(node, ast.Attribute) and node.attr == "dependency_overrides":
                parent = source.parents[node]
                taken = isinstance(parent, ast.Attribute) and parent.attr in ("clear", "pop", "update")
                replaced = isinstance(node.ctx, ast.Store)
                deleted = isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Del)
                handed = isinstance(parent, ast.Call | ast.keyword)
                if taken or replaced or deleted or handed or isinstance(parent, ast.Assign | ast.withitem):
                    return True
    return False


def _leaked(function: Function, node: ast.Assign, overrides: ast.Attribute, key: ast.expr) -> Problem:
    undo = f"{ast.unparse(overrides)}.pop({ast.unparse(key)}, None)"
    body = function.node.body
    yields = [each for each in inside(function.node) if isinstance(each, ast.Yield)]
    returns = any(isinstance(each, ast.Return) for each in inside(function.node))
    is_fixture = not function.name.startswith("test")
    edits = []
    if is_fixture and not returns and node in body:
        if not yields and body[-1] is node:
            edits = [after_statement(function.source, node, ["yield", undo])]
        elif len(yields) == 1 and isinstance(body[-1], ast.Expr) and body[-1].value is yields[0]:
            edits = [after_statement(function.source, body[-1], [undo])]
    return problem(
        "framework.dependency_override_leaked",
        source=function.source,
        node=node,
        name=function.name,
        explanation=f"{function.name} overrides {ast.unparse(key)} in the application of the whole process and does not take "
        "it out. All later tests get the override too.",
        fix=f"After the test: {undo}",
        confidence=0.92,
        edits=edits,
    )


RULES: tuple[Rule, ...] = (client_app_argument, lifespan_not_run, dependency_override_leaked)
