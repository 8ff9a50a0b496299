"""The edits that move a suite with database fixtures of its own to Savepoint's, on the newest pytest-asyncio."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from savepoint_ci.doctor.configuration import pytest_settings, savepoint_settings
from savepoint_ci.doctor.edits import Edit, deletion, import_line, span
from savepoint_ci.doctor.problem import Examined
from savepoint_ci.doctor.project import Project
from savepoint_ci.doctor.source import Function, Source, inside, keyword
from savepoint_ci.doctor.suite import Suite
from savepoint_ci.doctor.tests import Fixture, Tests
from savepoint_ci.doctor.things import Things

__all__ = ["Migration", "migration"]

_OURS = {"session": "db_session", "engine": "db_engine", "client": "client"}
_HARMLESS = {
    "create_async_engine", "create_engine", "async_sessionmaker", "sessionmaker", "AsyncSession", "AsyncClient",
    "ASGITransport", "begin", "begin_nested", "connect", "run_sync", "execution_options", "rollback", "commit", "close",
    "aclose", "dispose", "clear", "pop", "get", "getenv", "make_url", "LifespanManager", "lifespan_context", "start",
}  # fmt: skip
"""What a fixture may call that only makes a database, a session or a client."""


@dataclass
class Migration:
    """The edits, and what people have to do themselves."""

    edits: list[Edit] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def migration(project: Project) -> Migration:
    """Replace fixtures that make engine, session and client by those of Savepoint, and set what these need."""
    tests = Tests(project)
    examined = Examined(project, tests, Things(project, tests))
    moved = Migration()
    moved.edits += _old_marks(examined)
    for suite in {project.suite(each.source): None for each in tests.fixtures}:
        if not suite.managed:
            _move(examined, suite, moved)
    return moved


def _move(examined: Examined, suite: Suite, moved: Migration) -> None:
    fixtures = [each for each in examined.tests.fixtures if examined.project.suite(each.source) is suite]
    roles = {each: role for each in fixtures if (role := _role(examined, each))}
    if "session" in roles.values():
        replaced = [each for each in roles if _is_replaceable(examined, each, roles)]
        for fixture in replaced:
            moved.edits += _replace(examined, fixture, roles[fixture], fixtures, replaced)
        for fixture in roles.keys() - set(replaced):
            moved.steps.append(
                f"{fixture.source.path}:{fixture.function.node.lineno} {fixture.name} does more than make a "
                f"{roles[fixture]}; move that to fixtures of its own and use {_OURS[roles[fixture]]}"
            )
        if replaced:
            moved.edits += savepoint_settings(suite, _settings(examined, suite, fixtures, moved))
            moved.steps.append("add pytest-savepoint to the dependencies of the tests")
    awaited = [each for each in fixtures if each.function.is_async and not each.by_pytest_asyncio and each not in roles]
    if suite.strict and (awaited or any(each for each in roles if not each.by_pytest_asyncio)):
        moved.edits += pytest_settings(suite, {"asyncio_mode": "auto"})
    if pin := _old_pin(suite):
        moved.steps.append(f"raise {pin} in pyproject.toml to pytest-asyncio>=1.0")


def _role(examined: Examined, fixture: Fixture) -> str:
    """Which fixture of Savepoint does the same; empty when none does."""
    if not fixture.function.is_async:
        return ""
    given = examined.things.given(fixture)
    if given and given.kind in ("session", "engine"):
        return given.kind
    value = fixture.value
    if isinstance(value, ast.Name):
        calls = [each for each in inside(fixture.function.node) if isinstance(each, ast.Call)]
        if any(fixture.source.dotted(each.func) == "httpx.AsyncClient" for each in calls):
            return "client"
    # An engine that comes from somewhere unknown still makes a session when one is opened and given away.
    opened = [
        each for each in inside(fixture.function.node)
        if isinstance(each, ast.Call) and fixture.source.dotted(each.func).endswith("AsyncSession")
    ]  # fmt: skip
    return "session" if opened and isinstance(value, ast.Name) else ""


def _is_replaceable(examined: Examined, fixture: Fixture, roles: dict[Fixture, str]) -> bool:
    """It makes its thing and nothing beyond, and asks for nothing that stays."""
    if fixture.scope != "function" and roles[fixture] != "engine":
        return False
    overridden = {
        ast.unparse(each.slice)
        for each in inside(fixture.function.node)
        if isinstance(each, ast.Subscript) and isinstance(each.ctx, ast.Store)
    }
    if overridden - {each.name for each in _session_dependencies(examined, examined.project.suite(fixture.source))}:
        return False
    requested = (examined.tests.find(each.arg, fixture.function) for each in fixture.function.parameters)
    if not all(each is None or each in roles or each.name == "event_loop" for each in requested):
        return False
    calls = [each for each in inside(fixture.function.node, nested=True) if isinstance(each, ast.Call)]
    if any(keyword(each, "headers") or keyword(each, "cookies") or keyword(each, "auth") for each in calls):
        return False
    own = {each.name for each in fixture.source.functions.values() if each.outer is fixture.function}
    return all(_called(each) in _HARMLESS | own or _makes_session(examined, fixture, each) for each in calls)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _makes_session(examined: Examined, fixture: Fixture, call: ast.Call) -> bool:
    made = examined.things.of(fixture.source, call)
    return made is not None and made.kind == "session"


def _replace(
    examined: Examined, fixture: Fixture, role: str, fixtures: list[Fixture], replaced: list[Fixture]
) -> Iterator[Edit]:
    """Delete the fixture; under another name than ours, it becomes one line that gives ours."""
    source, node, ours = fixture.source, fixture.function.node, _OURS[role]
    users = [each.function for each in examined.tests.tests]
    users += [each.function for each in fixtures if each not in replaced]
    is_used = any(examined.tests.find(fixture.name, each) is fixture and _asks(each, fixture.name) for each in users)
    if fixture.name == ours or not is_used:
        yield deletion(source, node)
        return
    first = min(node.lineno, *(each.lineno for each in node.decorator_list))
    start, _ = span(
        source, ast.Pass(lineno=first, col_offset=node.col_offset, end_lineno=first, end_col_offset=node.col_offset)
    )
    _, end = span(source, node)
    yield Edit(source.path, start, end, f"@pytest.fixture\ndef {fixture.name}({ours}):\n    return {ours}")
    if added := import_line(source, "import pytest"):
        yield added


def _asks(function: Function, name: str) -> bool:
    return any(each.arg == name for each in function.parameters)


def _settings(examined: Examined, suite: Suite, fixtures: list[Fixture], moved: Migration) -> dict[str, str]:
    found: dict[str, str] = {}
    for fixture in fixtures:
        for node in inside(fixture.function.node, nested=True):
            match node:
                case ast.Call() if fixture.source.dotted(node.func) in ("httpx.AsyncClient", "httpx.ASGITransport"):
                    app = keyword(node, "app")
                    if app is not None:
                        found.setdefault("app", _reference(examined, suite, fixture.source, app))
                case ast.Attribute(value=base, attr="create_all"):
                    metadata = base.value if isinstance(base, ast.Attribute) and base.attr == "metadata" else base
                    found.setdefault("metadata", _reference(examined, suite, fixture.source, metadata))
    dependencies = _session_dependencies(examined, suite)
    if len(dependencies) == 1:
        found["get-db"] = _import_of(examined, suite, dependencies[0])
    elif dependencies:
        names = ", ".join(each.name for each in dependencies)
        moved.steps.append(f"set get-db in [tool.savepoint] to the dependency that gives a session, one of: {names}")
    if any(path.name == "env.py" and "alembic" in source.text for path, source in examined.project.sources.items()):
        found.pop("metadata", None)  # migrations are the schema's source
    return {name: text for name, text in sorted(found.items()) if text}


def _session_dependencies(examined: Examined, suite: Suite) -> list[Function]:
    """The functions of the application that give a session to routes."""
    found: dict[ast.AST, Function] = {}
    for source in examined.project.files(suite):
        for node in source.nodes:
            if isinstance(node, ast.Call) and source.dotted(node.func).endswith(".Depends") and node.args:
                definition = examined.project.definition(source, node.args[0])
                function = definition.source.functions.get(definition.node) if definition else None
                given = (
                    next((each.value for each in inside(function.node) if isinstance(each, ast.Yield)), None)
                    if function
                    else None
                )
                thing = examined.things.of(function.source, given) if function and given else None
                if function and thing and thing.kind == "session":
                    found[function.node] = function
    return list(found.values())


def _reference(examined: Examined, suite: Suite, source: Source, node: ast.expr) -> str:
    """The application's object as module:attribute, by the name under which the tests import it."""
    if source.dotted(node) and not source.dotted(node).startswith("/"):
        module, _, name = source.dotted(node).rpartition(".")
        return f"{module}:{name}"
    definition = examined.project.definition(source, node)
    return _dotted(suite, definition.source.path, definition.name) if definition else ""


def _import_of(examined: Examined, suite: Suite, function: Function) -> str:
    for source in examined.project.files(suite):
        if source.imports.get(function.name):
            definition = examined.project.definition(source, ast.Name(id=function.name))
            if definition and definition.node is function.node:
                return _reference(examined, suite, source, ast.Name(id=function.name))
    return _dotted(suite, function.source.path, function.name)


def _dotted(suite: Suite, path: PurePosixPath, name: str) -> str:
    parts = list(path.relative_to(suite.folder).with_suffix("").parts)
    parts = parts[1:] if parts[0] == "src" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) + f":{name}"


def _old_marks(examined: Examined) -> Iterator[Edit]:
    """pytest.mark.asyncio(scope=...) became loop_scope."""
    for source in examined.project.sources.values():
        for node in source.nodes:
            if isinstance(node, ast.Call) and source.dotted(node.func) == "pytest.mark.asyncio":
                for each in node.keywords:
                    if each.arg == "scope":
                        start, _ = span(source, each)
                        yield Edit(source.path, start, start + len("scope"), "loop_scope")


def _old_pin(suite: Suite) -> str:
    """A requirement that keeps pytest-asyncio older than 1.0."""
    found = re.search(r"pytest-asyncio\s*(?:<\s*1|[=~]=\s*0\.|<=?\s*0\.)[^\"',]*", suite.pyproject)
    return found[0] if found else ""
