"""What an expression stands for: an engine, a connection, a session, and the call that made it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from savepoint_ci.doctor.project import Project, assigned, local_names
from savepoint_ci.doctor.source import Function, Source, inside, keyword
from savepoint_ci.doctor.tests import Fixture, Tests

__all__ = ["Thing", "Things"]

_DEPTH = 12
_MAKERS = {
    "sqlalchemy.ext.asyncio.create_async_engine": "engine",
    "sqlalchemy.ext.asyncio.async_engine_from_config": "engine",
    "sqlalchemy.ext.asyncio.AsyncSession": "session",
    "sqlalchemy.ext.asyncio.async_sessionmaker": "sessions",
    "sqlalchemy.ext.asyncio.async_scoped_session": "scoped",
    "sqlalchemy.orm.sessionmaker": "sync sessions",
    "asyncpg.connect": "connection",
    "asyncpg.connection.connect": "connection",
    "asyncpg.create_pool": "pool",
    "psycopg.AsyncConnection.connect": "connection",
    "aiosqlite.connect": "sqlite connection",
    "httpx.AsyncClient": "client",
    **{f"redis.asyncio.{name}": "client" for name in ("Redis", "Redis.from_url", "from_url")},
    "contextvars.ContextVar": "context variable",
    "fastapi.FastAPI": "app",
    "starlette.applications.Starlette": "app",
    **{f"asyncio.{name}": "primitive" for name in ("Lock", "Semaphore", "BoundedSemaphore", "Condition")},
}
_ANNOTATIONS = {
    "sqlalchemy.ext.asyncio.AsyncSession": "session",
    "sqlalchemy.ext.asyncio.AsyncConnection": "connection",
    "asyncpg.Connection": "connection",
}
_UNPOOLED = ("NullPool", "StaticPool", "AssertionPool")


@dataclass(frozen=True, eq=False)
class Thing:
    """A resource that the source makes at `call`; `fixture` when a fixture of this project made it.

    `engine` is the engine that a session or connection was made from.
    """

    kind: str
    source: Source
    call: ast.Call | None = None
    fixture: Fixture | None = None
    engine: Thing | None = None

    @property
    def pool(self) -> Thing | None:
        """The engine, pool or client behind it whose connections belong to a loop; None without one."""
        thing = self if self.kind in ("engine", "pool", "client") else self.engine
        return thing if thing and thing.is_pooled else None

    @property
    def is_pooled(self) -> bool:
        """It keeps connections that belong to the loop which opened them."""
        if self.kind == "pool":
            return True
        if self.kind == "client" and self.call is not None:
            # What a test client sends goes to no socket.
            return {"transport", "mounts", "app", None}.isdisjoint(each.arg for each in self.call.keywords)
        if self.kind != "engine" or self.call is None:
            return False
        pool = keyword(self.call, "poolclass")
        splat = any(each.arg is None for each in self.call.keywords)
        url = ast.unparse(self.call.args[0]) if self.call.args else ""
        unpooled = (pool is not None and ast.unparse(pool).endswith(_UNPOOLED)) or "sqlite" in url
        return not unpooled and not splat


class Things:
    """Follows names to what they were made as."""

    def __init__(self, project: Project, tests: Tests) -> None:
        self.project = project
        self.tests = tests
        self._known: dict[ast.AST, Thing | None] = {}
        self._shared: dict[ast.AST, list[Thing]] = {}

    def of(self, source: Source, node: ast.AST | None, depth: int = _DEPTH) -> Thing | None:
        """The thing that an expression stands for; None when the source does not say."""
        if node is None or depth == 0:
            return None
        if node not in self._known:
            self._known[node] = None  # a name that stands for itself ends here
            self._known[node] = self._of(source, node, depth)
        return self._known[node]

    def _of(self, source: Source, node: ast.AST, depth: int) -> Thing | None:
        match node:
            case ast.Await(value=value):
                return self.of(source, value, depth - 1)
            case ast.Call():
                return self._called(source, node, depth)
            case ast.Name():
                return self._named(source, node, depth)
            case ast.Attribute():
                found = self.project.definition(source, node)
                if found and found.value:
                    return self.of(found.source, found.value, depth - 1)
                return self._held(source, node, depth)
        return None

    def _held(self, source: Source, node: ast.Attribute, depth: int) -> Thing | None:
        """What an object of a class of the project keeps from its __init__ on."""
        owner = self.project.class_of(source, node.value)
        init = self.project.method(owner[0], owner[1], "__init__") if owner else None
        kept = [
            each.value
            for each in (inside(init.node) if init else ())
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == f"self.{node.attr}"
        ]
        return self.of(init.source, kept[0], depth - 1) if init and len(kept) == 1 else None

    def _called(self, source: Source, call: ast.Call, depth: int) -> Thing | None:
        dotted = source.dotted(call.func).replace(".session.", ".").replace(".engine.", ".")
        kind = _MAKERS.get(dotted, "")
        if kind == "sync sessions":
            class_ = keyword(call, "class_")
            kind = "sessions" if class_ is not None and source.dotted(class_).endswith("AsyncSession") else ""
        if kind:
            bound = call.args[0] if call.args else keyword(call, "bind") or keyword(call, "engine")
            bound = keyword(call, "bind") or bound
            engine = self.of(source, bound, depth - 1) if kind in ("session", "sessions") else None
            return Thing(kind, source, call, engine=engine)
        if isinstance(call.func, ast.Attribute):
            base = self.of(source, call.func.value, depth - 1)
            method = call.func.attr
            if base and base.kind == "engine" and method in ("connect", "begin"):
                return Thing("connection", source, call, engine=base)
            if base and base.kind == "sessions" and method == "begin":
                return Thing("session", source, call, engine=base.engine)
            if base and base.kind == "pool" and method == "acquire":
                return Thing("connection", source, call, engine=base)
        made = self.of(source, call.func, depth - 1)
        if made and made.kind == "sessions":
            bound = keyword(call, "bind")
            engine = self.of(source, bound, depth - 1) if bound else made.engine
            return replace(made, kind="session", engine=engine)
        return self._returned(source, call, depth)

    def _returned(self, source: Source, call: ast.Call, depth: int) -> Thing | None:
        callee = self.project.callee(source, call)
        if callee is None or self.tests.fixture_of(callee):
            return None
        values = [node.value for node in inside(callee.node) if isinstance(node, ast.Return) and node.value]
        return self.of(callee.source, values[0], depth - 1) if len(values) == 1 else None

    def _named(self, source: Source, node: ast.Name, depth: int) -> Thing | None:
        scope = source.function_of(node)
        while scope:
            if node.id in local_names(scope):
                parameter = next((each for each in scope.parameters if each.arg == node.id), None)
                if parameter:
                    return self._parameter(scope, parameter, depth)
                return self.of(source, assigned(scope, node.id), depth - 1)
            scope = scope.outer
        found = self.project.definition(source, node)
        return self.of(found.source, found.value, depth - 1) if found and found.value else None

    def _parameter(self, function: Function, parameter: ast.arg, depth: int) -> Thing | None:
        if is_injected(self.tests, function):
            fixture = self.tests.find(parameter.arg, function)
            if fixture:
                made = self.given(fixture, depth)
                if made:
                    return made
            elif parameter.arg == "db_session" and self.project.suite(function.source).managed:
                return Thing("session", function.source)
        annotation = parameter.annotation
        kind = _ANNOTATIONS.get(
            function.source.dotted(annotation).replace(".session.", ".").replace(".engine.", "."), ""
        )
        return Thing(kind, function.source) if kind else None

    def parameters(self, function: Function) -> list[Thing]:
        """What a test or fixture is given."""
        things = (self._parameter(function, each, _DEPTH) for each in function.parameters)
        return [each for each in things if each]

    def shared(self, function: Function) -> list[Thing]:
        """The things that a function reaches by names of modules, which last as long as the process."""
        if function.node not in self._shared:
            found = []
            for node in inside(function.node, nested=True):
                if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                    thing = self.of(function.source, node) if self._is_lasting(function.source, node) else None
                    if thing and thing.call and thing.fixture is None:
                        found.append(thing)
            self._shared[function.node] = found
        return self._shared[function.node]

    def _is_lasting(self, source: Source, node: ast.expr) -> bool:
        """Whether a name or attribute begins with a name of a module that no function binds anew."""
        if found := self.project.definition(source, node):
            return found.value is not None and not self._is_local(source, node)
        return isinstance(node, ast.Attribute) and self._is_lasting(source, node.value)

    def _is_local(self, source: Source, node: ast.expr) -> bool:
        scope = source.function_of(node)
        while scope:
            if isinstance(node, ast.Name) and node.id in local_names(scope):
                return True
            scope = scope.outer
        return False

    def given(self, fixture: Fixture, depth: int = _DEPTH) -> Thing | None:
        """The thing that a fixture gives to tests."""
        made = self.of(fixture.source, fixture.value, depth - 1)
        return replace(made, fixture=made.fixture or fixture) if made else None


def is_injected(tests: Tests, function: Function) -> bool:
    """Whether pytest fills the parameters of a function."""
    return tests.fixture_of(function) is not None or function.node in tests.by_node
