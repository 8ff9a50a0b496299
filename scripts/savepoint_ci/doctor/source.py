"""One Python file: its text, its syntax tree, and what its names were imported as."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import PurePosixPath

__all__ = ["Function", "Node", "Source", "has_splat", "inside", "is_async_generator", "keyword", "parse", "strings"]

Node = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, eq=False)
class Function:
    """One function, the class it is a method of, and the function it is nested in."""

    source: Source
    node: Node
    owner: ast.ClassDef | None
    outer: Function | None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def parameters(self) -> list[ast.arg]:
        arguments = self.node.args
        return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


@dataclass(eq=False)
class Source:
    """A parsed file; `path` is relative to the examined folder."""

    path: PurePosixPath
    text: str
    tree: ast.Module
    imports: dict[str, str] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    functions: dict[ast.AST, Function] = field(default_factory=dict)

    @cached_property
    def star_imports(self) -> list[str]:
        """The modules of which every name is imported."""
        found = [_imported(node, self.path) for node in self.tree.body if isinstance(node, ast.ImportFrom)]
        return [dotted.removesuffix("*").rstrip(".") for pairs in found for name, dotted in pairs if name == "*"]

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Its string constants."""
        return tuple(
            each.value for each in self.nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )

    def dotted(self, node: ast.AST | None) -> str:
        """The full name of what a name or attribute was imported as, such as `asyncio.gather`; empty when unknown."""
        match node:
            case ast.Name(id=name):
                return self.imports.get(name, "")
            case ast.Attribute(value=value, attr=attribute):
                base = self.dotted(value)
                return f"{base}.{attribute}" if base else ""
            case ast.Call(func=called):
                return self.dotted(called)
        return ""

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that a node stands in, the nearest first."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def function_of(self, node: ast.AST) -> Function | None:
        """The function in whose body a node runs."""
        return next((self.functions[each] for each in self.around(node) if each in self.functions), None)


def parse(path: PurePosixPath, text: str) -> Source:
    """Parse one file.

    :raises SyntaxError: when the text is no Python that this interpreter knows.
    """
    tree = ast.parse(text)
    source = Source(path, text, tree)
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            source.parents[child] = parent
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            source.imports.update(_imported(node, path))
        elif isinstance(node, _FUNCTIONS):
            owner = source.parents[node]
            source.functions[node] = Function(
                source, node, owner if isinstance(owner, ast.ClassDef) else None, source.function_of(node)
            )
    return source


def _imported(node: ast.Import | ast.ImportFrom, path: PurePosixPath) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        return
    module = node.module or ""
    if node.level:
        # Relative to the examined folder, marked by a slash that no absolute name has.
        folder = "/".join(path.parts[: -node.level])
        module = f"/{folder.replace('/', '.')}{'.' if folder and module else ''}{module}"
    for alias in node.names:
        yield alias.asname or alias.name, f"{module}{'' if module.endswith('/') else '.'}{alias.name}"


@cache
def inside(node: ast.AST, *, nested: bool = False) -> tuple[ast.AST, ...]:
    """Every node in a function's body (or below any node) in the order of the text.

    :param nested: also bodies of functions and lambdas in it, which run when they are called.
    """
    return tuple(_inside(node, nested=nested))


def _inside(node: ast.AST, *, nested: bool) -> Iterator[ast.AST]:
    children = node.body if isinstance(node, _FUNCTIONS) else ast.iter_child_nodes(node)
    for child in children:
        yield child
        if nested or not isinstance(child, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)):
            yield from _inside(child, nested=nested)


def is_async_generator(function: Function) -> bool:
    return function.is_async and any(isinstance(node, ast.Yield) for node in inside(function.node))


def keyword(call: ast.Call | None, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((each.value for each in call.keywords if each.arg == name), None) if call else None


def has_splat(call: ast.Call) -> bool:
    """Whether keyword arguments come from somewhere else."""
    return any(each.arg is None for each in call.keywords)


def strings(node: ast.AST) -> Iterator[ast.Constant]:
    """The string constants below a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each
