"""All files of a project together: which definition a name means, and which function a call runs."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import PurePosixPath

from savepoint_ci.doctor.source import Function, Node, Source, inside
from savepoint_ci.doctor.suite import Suite

__all__ = ["Definition", "Project", "assigned", "local_names"]

_FOLDERS_OF_CODE = ("", "src", "app", "backend", "tests")
_DEPTH = 8
_UNCONFIGURED = Suite(PurePosixPath())


@dataclass(frozen=True, eq=False)
class Definition:
    """Where a name is defined: a function, a class, or the value it is assigned."""

    source: Source
    name: str
    node: ast.AST
    value: ast.expr | None = None


@dataclass(eq=False)
class Project:
    """The files of one folder and the suites in it."""

    sources: Mapping[PurePosixPath, Source]
    suites: Mapping[PurePosixPath, Suite] = field(default_factory=dict)

    def suite(self, source: Source) -> Suite:
        """The suite whose configuration is nearest to a file."""
        folder = source.path.parent
        if folder not in self._nearest:
            found = (self.suites[each] for each in source.path.parents if each in self.suites)
            self._nearest[folder] = next(found, _UNCONFIGURED)
        return self._nearest[folder]

    @cached_property
    def _nearest(self) -> dict[PurePosixPath, Suite]:
        return {}

    def files(self, suite: Suite) -> list[Source]:
        return self._files.get(suite.folder, [])

    @cached_property
    def _files(self) -> dict[PurePosixPath, list[Source]]:
        found: dict[PurePosixPath, list[Source]] = {}
        for source in self.sources.values():
            found.setdefault(self.suite(source).folder, []).append(source)
        return found

    def module(self, name: str, near: Source) -> Source | None:
        """The file of a module that a file may import."""
        key = (name, near.path.parent)
        if key not in self._modules:
            self._modules[key] = self._find_module(name, near)
        return self._modules[key]

    @cached_property
    def _modules(self) -> dict[tuple[str, PurePosixPath], Source | None]:
        return {}

    def _find_module(self, name: str, near: Source) -> Source | None:
        if name.startswith("/"):
            return self._file(PurePosixPath(), name[1:])
        if name.partition(".")[0] not in self._roots:
            return None
        for folder in near.path.parents:
            for code in _FOLDERS_OF_CODE:
                if found := self._file(folder / code, name):
                    return found
        return None

    @cached_property
    def _roots(self) -> set[str]:
        """Every name that the first part of a module's can be."""
        return {part.removesuffix(".py") for path in self.sources for part in path.parts}

    def _file(self, folder: PurePosixPath, name: str) -> Source | None:
        path = folder.joinpath(*name.split("."))
        return self.sources.get(path.parent / f"{path.name}.py") or self.sources.get(path / "__init__.py")

    def definition(self, source: Source, node: ast.AST | None, depth: int = _DEPTH) -> Definition | None:
        """What a module-level name, or an attribute of an imported module, stands for in this project."""
        if isinstance(node, ast.Name) and (found := self.top_level(source).get(node.id)):
            return found
        if depth == 0:
            return None
        dotted = source.dotted(node)
        if isinstance(node, ast.Name) and not dotted:
            files = (self.module(module, source) for module in source.star_imports)
            candidates = (self.definition(file, node, depth - 1) for file in files if file)
            return next((each for each in candidates if each), None)
        module, _, name = dotted.rpartition(".")
        if not module:
            return None
        file = self.module(module, source)
        return self.definition(file, ast.Name(id=name), depth - 1) if file else None

    def top_level(self, source: Source) -> dict[str, Definition]:
        if source not in self._top_levels:
            self._top_levels[source] = {each.name: each for each in _definitions(source)}
        return self._top_levels[source]

    @cached_property
    def _top_levels(self) -> dict[Source, dict[str, Definition]]:
        return {}

    def callee(self, source: Source, call: ast.Call) -> Function | None:
        """The project's function that a call runs, when there is no doubt."""
        if call not in self._callees:
            self._callees[call] = self._callee(source, call)
        return self._callees[call]

    @cached_property
    def _callees(self) -> dict[ast.Call, Function | None]:
        return {}

    def _callee(self, source: Source, call: ast.Call) -> Function | None:
        called, function = call.func, source.function_of(call)
        if isinstance(called, ast.Name):
            for scope in _scopes(function):
                nested = _nested(scope, called.id)
                if nested or called.id in local_names(scope):
                    return nested
            return self._as_function(self.definition(source, called))
        if not isinstance(called, ast.Attribute):
            return None
        if found := self._as_function(self.definition(source, called)):
            return found
        owner = self._class_of(source, called.value, function)
        return self.method(owner[0], owner[1], called.attr) if owner else None

    def method(self, source: Source, owner: ast.ClassDef, name: str, depth: int = _DEPTH) -> Function | None:
        """A method of a class or of the project's classes that it extends."""
        for node in owner.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return source.functions[node]
        for base in owner.bases:
            found = self.definition(source, base)
            if found and isinstance(found.node, ast.ClassDef) and depth:
                method = self.method(found.source, found.node, name, depth - 1)
                if method:
                    return method
        return None

    def class_of(self, source: Source, node: ast.expr) -> tuple[Source, ast.ClassDef] | None:
        """The project's class of which an expression is an instance."""
        return self._class_of(source, node, source.function_of(node))

    def _class_of(
        self, source: Source, node: ast.expr, function: Function | None, depth: int = _DEPTH
    ) -> tuple[Source, ast.ClassDef] | None:
        node = node.value if isinstance(node, ast.Await) else node
        if isinstance(node, ast.Call):
            found = self.definition(source, node.func)
            return (found.source, found.node) if found and isinstance(found.node, ast.ClassDef) else None
        if not isinstance(node, ast.Name) or depth == 0:
            return None
        if node.id == "self" and function and function.owner:
            return source, function.owner
        for scope in _scopes(function):
            if node.id in local_names(scope):
                value = assigned(scope, node.id)
                return self._class_of(source, value, scope, depth - 1) if value is not None else None
        found = self.definition(source, node)
        return self._class_of(found.source, found.value, None, depth - 1) if found and found.value else None

    def _as_function(self, found: Definition | None) -> Function | None:
        return found.source.functions.get(found.node) if found else None

    def calls(self, function: Function, *, nested: bool = True) -> list[tuple[ast.Call, Function]]:
        """The calls in a function that run functions of this project."""
        key = (function.node, nested)
        if key not in self._calls:
            calls = [node for node in inside(function.node, nested=nested) if isinstance(node, ast.Call)]
            found = ((call, self.callee(function.source, call)) for call in calls)
            self._calls[key] = [(call, callee) for call, callee in found if callee]
        return self._calls[key]

    @cached_property
    def _calls(self) -> dict[tuple[ast.AST, bool], list[tuple[ast.Call, Function]]]:
        return {}

    def reached(self, starts: Iterable[Function]) -> list[Function]:
        """The functions themselves and all of the project's that they call, directly or not."""
        seen: dict[Node, Function] = {}
        waiting = list(starts)
        while waiting:
            function = waiting.pop()
            if function.node not in seen:
                seen[function.node] = function
                waiting += [callee for _, callee in self.calls(function)]
        return list(seen.values())


def _definitions(source: Source) -> Iterator[Definition]:
    for node in source.tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield Definition(source, name, node)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield Definition(source, target.id, node, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value:
                yield Definition(source, name, node, value)


def _scopes(function: Function | None) -> Iterator[Function]:
    while function:
        yield function
        function = function.outer


def _nested(function: Function, name: str) -> Function | None:
    nodes = inside(function.node)
    return next(
        (
            function.source.functions[node]
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ),
        None,
    )


@cache
def local_names(function: Function) -> set[str]:
    """The names that a function binds, parameters included."""
    names = {each.arg for each in function.parameters}
    shared = {
        name for node in inside(function.node) if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names
    }
    for node in inside(function.node):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names - shared


@cache
def assigned(function: Function, name: str) -> ast.expr | None:
    """The value of a local name that is bound once, by an assignment or `with`."""
    values: list[ast.expr | None] = []
    for node in inside(function.node):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    bound = [each for each in ast.walk(target) if isinstance(each, ast.Name) and each.id == name]
                    if bound and isinstance(bound[0].ctx, ast.Store):
                        values.append(value if isinstance(target, ast.Name) else None)
            case ast.AnnAssign(target=ast.Name(id=bound_name), value=value) if bound_name == name:
                values.append(value)
            case ast.withitem(context_expr=value, optional_vars=ast.Name(id=bound_name)) if bound_name == name:
                values.append(value)
            case ast.For(target=target) | ast.AsyncFor(target=target):
                values += [None for each in ast.walk(target) if isinstance(each, ast.Name) and each.id == name]
            case ast.NamedExpr(target=ast.Name(id=bound_name), value=value) if bound_name == name:
                values.append(value)
    return values[0] if len(values) == 1 else None
