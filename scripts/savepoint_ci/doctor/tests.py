"""The tests and fixtures of a project, who runs them, and on which loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from savepoint_ci.doctor.project import Project
from savepoint_ci.doctor.source import Function, Source, inside, keyword
from savepoint_ci.doctor.suite import SCOPES, Suite

__all__ = ["Fixture", "TestFunction", "Tests", "is_test_file", "wider"]

_PYTEST, _PYTEST_ASYNCIO = "pytest.fixture", "pytest_asyncio.fixture"
_UNKNOWN = "?"


@dataclass(frozen=True, eq=False)
class Fixture:
    """A fixture; `loop_scope` is empty where its own width decides, and ? where it is computed."""

    function: Function
    decorator: ast.expr
    name: str
    scope: str
    loop_scope: str
    autouse: bool
    by_pytest_asyncio: bool

    @property
    def source(self) -> Source:
        return self.function.source

    @property
    def yields(self) -> ast.Yield | None:
        return next((each for each in inside(self.function.node) if isinstance(each, ast.Yield)), None)

    @property
    def value(self) -> ast.expr | None:
        """What a test gets: the value that is yielded or returned, when there is one such statement."""
        found = [
            each.value
            for each in inside(self.function.node)
            if isinstance(each, ast.Yield | ast.Return) and each.value is not None
        ]
        return found[0] if len(found) == 1 else None

    def after_yield(self) -> Iterator[ast.AST]:
        """The nodes of the teardown."""
        if self.yields:
            last = self.yields.end_lineno or self.yields.lineno
            for node in inside(self.function.node):
                if getattr(node, "lineno", 0) > last:
                    yield node


@dataclass(frozen=True, eq=False)
class TestFunction:
    """A test; `runner` is asyncio, anyio, or empty for a synchronous one."""

    __test__ = False  # not a test class, whatever pytest makes of the name

    function: Function
    runner: str
    loop_scope: str
    marks: tuple[ast.expr, ...]

    @property
    def source(self) -> Source:
        return self.function.source


class Tests:
    """Finds tests and fixtures as pytest does: by file name, conftest folders, and decorators."""

    __test__ = False

    def __init__(self, project: Project) -> None:
        self.project = project

    @cached_property
    def tests(self) -> list[TestFunction]:
        return [
            test
            for source in self.project.sources.values()
            if is_test_file(source.path)
            for function in source.functions.values()
            if (test := self._test(function))
        ]

    @cached_property
    def by_node(self) -> dict[ast.AST, TestFunction]:
        return {test.function.node: test for test in self.tests}

    def of(self, suite: Suite) -> list[TestFunction]:
        return [test for test in self.tests if self.project.suite(test.source) is suite]

    def _test(self, function: Function) -> TestFunction | None:
        owner = function.owner
        in_class = owner is None or owner.name.startswith("Test") or _is_test_case(owner)
        if function.outer or not function.name.startswith("test") or not in_class or self.fixture_of(function):
            return None
        marks = tuple(_marks(function))
        if not function.is_async or (owner and _is_test_case(owner)):
            return TestFunction(function, "", "", marks)
        suite = self.project.suite(function.source)
        by_name = {function.source.dotted(each): each for each in reversed(marks)}
        asyncio_mark = by_name.get("pytest.mark.asyncio")
        if "pytest.mark.anyio" in by_name and asyncio_mark is None:
            return TestFunction(function, "anyio", "", marks)
        runner = "asyncio" if asyncio_mark is not None or not suite.strict else "unknown"
        call = asyncio_mark if isinstance(asyncio_mark, ast.Call) else None
        given = keyword(call, "loop_scope") or keyword(call, "scope")
        scope = _constant(given) if given is not None else suite.test_loop_scope
        return TestFunction(function, runner, scope, marks)

    @cached_property
    def fixtures(self) -> list[Fixture]:
        functions = (each for source in self.project.sources.values() for each in source.functions.values())
        return [found for function in functions if (found := self.fixture_of(function))]

    def fixture_of(self, function: Function) -> Fixture | None:
        """The fixture that a function is declared as."""
        if function.node not in self._by_function:
            self._by_function[function.node] = _fixture(function)
        return self._by_function[function.node]

    @cached_property
    def _by_function(self) -> dict[ast.AST, Fixture | None]:
        return {}

    def is_on_asyncio(self, fixture: Fixture) -> bool:
        """Whether pytest-asyncio runs an async fixture."""
        suite = self.project.suite(fixture.source)
        return fixture.function.is_async and (fixture.by_pytest_asyncio or not suite.strict)

    def loop_scope(self, fixture: Fixture) -> str:
        """How wide the loop of an async fixture is."""
        return fixture.loop_scope or self.project.suite(fixture.source).fixture_loop_scope or fixture.scope

    def find(self, name: str, near: Function) -> Fixture | None:
        """The fixture that a test or fixture gets under a name: of its class, its file, or a conftest above."""
        own = self.fixture_of(near)
        candidates = [each for each in self._by_name.get(name, []) if each is not own]
        in_class = [each for each in candidates if each.source is near.source and each.function.owner is near.owner]
        in_file = [each for each in candidates if each.source is near.source and each.function.owner is None]
        if in_class or in_file:
            return (in_class or in_file)[-1]
        for folder in near.source.path.parents:
            conftest = folder / "conftest.py"
            for each in candidates:
                if each.source.path == conftest:
                    return each
            if (source := self.project.sources.get(conftest)) and (found := self._imported(name, source, candidates)):
                return found
        return self._imported(name, near.source, candidates)

    def _imported(self, name: str, source: Source, candidates: list[Fixture]) -> Fixture | None:
        found = self.project.definition(source, ast.Name(id=name)) if name in source.imports else None
        return next((each for each in candidates if found and each.function.node is found.node), None)

    @cached_property
    def _by_name(self) -> dict[str, list[Fixture]]:
        found: dict[str, list[Fixture]] = {}
        for each in self.fixtures:
            found.setdefault(each.name, []).append(each)
        return found

    def requested(self, function: Function) -> list[Fixture]:
        """The fixtures that a test or fixture gets, directly or not, with those that are used automatically."""
        if function.node not in self._requested:
            self._requested[function.node] = self._request(function)
        return self._requested[function.node]

    @cached_property
    def _requested(self) -> dict[ast.AST, list[Fixture]]:
        return {}

    def _request(self, function: Function) -> list[Fixture]:
        found: dict[ast.AST, Fixture] = {}
        waiting = [function]
        waiting += [each.function for each in self._automatic if _sees(function, each)]
        for each in waiting[1:]:
            found[each.node] = self._known(each)
        while waiting:
            current = waiting.pop()
            for name in (*(each.arg for each in current.parameters), *_used(current)):
                fixture = self.find(name, current)
                if fixture and fixture.function.node not in found:
                    found[fixture.function.node] = fixture
                    waiting.append(fixture.function)
        return list(found.values())

    @cached_property
    def _automatic(self) -> list[Fixture]:
        return [each for each in self.fixtures if each.autouse]

    def _known(self, function: Function) -> Fixture:
        fixture = self.fixture_of(function)
        assert fixture
        return fixture


def wider(one: str, other: str) -> bool:
    """Whether one scope is wider than the other; never when one of them is not known."""
    return one in SCOPES and other in SCOPES and SCOPES.index(one) > SCOPES.index(other)


def is_test_file(path: PurePosixPath) -> bool:
    return path.name.startswith("test_") or path.name.endswith("_test.py") or path.name in ("tests.py", "test.py")


def _sees(function: Function, fixture: Fixture) -> bool:
    path, source = fixture.source.path, function.source
    if path.name == "conftest.py":
        return path.parent in source.path.parents
    return fixture.source is source and fixture.function.owner in (None, function.owner)


def _used(function: Function) -> Iterator[str]:
    for mark in _marks(function):
        if isinstance(mark, ast.Call) and function.source.dotted(mark) == "pytest.mark.usefixtures":
            yield from (
                each.value for each in mark.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def _is_test_case(owner: ast.ClassDef) -> bool:
    return any("TestCase" in ast.unparse(base) for base in owner.bases)


def _marks(function: Function) -> Iterator[ast.expr]:
    """The marks of a function, the nearest first."""
    yield from function.node.decorator_list
    if function.owner:
        yield from function.owner.decorator_list
        yield from _pytestmark(function.owner.body)
    yield from _pytestmark(function.source.tree.body)


def _pytestmark(body: list[ast.stmt]) -> Iterator[ast.expr]:
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=value):
                yield from value.elts if isinstance(value, ast.List | ast.Tuple) else [value]


def _fixture(function: Function) -> Fixture | None:
    for decorator in function.node.decorator_list:
        dotted = function.source.dotted(decorator)
        if dotted not in (_PYTEST, _PYTEST_ASYNCIO):
            continue
        call = decorator if isinstance(decorator, ast.Call) else None
        name, scope, loop_scope, autouse = (keyword(call, each) for each in ("name", "scope", "loop_scope", "autouse"))
        return Fixture(
            function,
            decorator,
            name=_constant(name) if name else function.name,
            scope=_constant(scope) if scope else "function",
            loop_scope=_constant(loop_scope) if loop_scope else "",
            autouse=isinstance(autouse, ast.Constant) and autouse.value is True,
            by_pytest_asyncio=dotted == _PYTEST_ASYNCIO,
        )
    return None


def _constant(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else _UNKNOWN
