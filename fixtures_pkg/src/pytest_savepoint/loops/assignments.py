"""The line of the caller's source that makes what a module, a class or a function keeps."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, ModuleType
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller

__all__ = ["Assignments"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BUILDERS = (ast.Assign, ast.AnnAssign, ast.NamedExpr)


class Assignments:
    """Reads sources, only when something has failed."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def of_global(self, module: ModuleType, name: str, value: Any) -> Fact:
        """Where a module's global gets its value; in the module it comes from, when it was imported from there."""
        for other, alias in self._names_of(module, name, value):
            tree = self._tree(other)
            # A value that a function puts there later, under `global`, is what counts; None only keeps the place.
            line = _line(ast.walk(tree), _names(alias)) if alias in _declared_global(tree) else None
            line = line or _line(_module_level(tree), _names(alias))
            if line is not None:
                return self._site(other, line)
        return self._site(module, None)

    def of_class(self, module: ModuleType | None, name: str, attribute: str) -> Fact:
        """Where a class gets an attribute: in its body, or in a method when the body only keeps the place."""
        if module is None:
            return {"path": None, "line": None}
        nodes = list(ast.walk(self._tree(module)))
        body = next((node.body for node in nodes if isinstance(node, ast.ClassDef) and node.name == name), [])
        made = _line(body, _names(attribute), builds=True) or _line(nodes, _attributes(attribute), builds=True)
        return self._site(module, made or _line(body, _names(attribute)))

    def of_function(self, code: CodeType, name: str | None) -> Fact:
        """Where a function gets what it keeps: a parameter's default, a variable around it, or, cached, what it returns."""
        tree = ast.parse(self._caller.text(self._caller.path(code.co_filename)) or "pass")
        line = self._kept(tree, code, name) or code.co_firstlineno
        return {"path": self._caller.path(code.co_filename), "line": line}

    def _kept(self, tree: ast.AST, code: CodeType, name: str | None) -> int | None:
        around = [
            node
            for node in ast.walk(tree)
            if isinstance(node, _FUNCTIONS)
            and _first_line(node) <= code.co_firstlineno <= (node.end_lineno or node.lineno)
        ]
        own = next((node for node in around if _first_line(node) == code.co_firstlineno), None)
        if own is None:
            return None
        if name is None:
            returned = [node for node in ast.walk(own) if isinstance(node, ast.Return) and node.value is not None]
            return returned[-1].lineno if returned else None
        default = _default(own, name)
        if default is not None:
            return default
        outer = [line for node in around if node is not own and (line := _line(node.body, _names(name)))]
        return outer[-1] if outer else None

    def _names_of(self, module: ModuleType, name: str, value: Any) -> Iterator[tuple[ModuleType, str]]:
        """The modules that have this value as a global, and its name there, the given one first."""
        yield module, name
        for other in list(sys.modules.values()):
            filename = getattr(other, "__file__", None)
            if other is module or not isinstance(filename, str) or not self._caller.owns(filename):
                continue
            yield from ((other, alias) for alias, each in list(vars(other).items()) if each is value)

    def _tree(self, module: ModuleType) -> ast.Module:
        try:
            return ast.parse(self._caller.text(self._caller.path(module.__file__ or "")))
        except (SyntaxError, ValueError):
            return ast.Module(body=[], type_ignores=[])

    def _site(self, module: ModuleType, line: int | None) -> Fact:
        return {"path": self._caller.path(module.__file__ or ""), "line": line}


def _module_level(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements that run at import, also under `if` and `try`."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            waiting += [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt)]


def _first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The line that the code of a function begins with: its first decorator's."""
    return min([function.lineno, *(each.lineno for each in function.decorator_list)])


def _default(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> int | None:
    """The line of a parameter's default."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    pairs = [
        *zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]
    return next((value.lineno for parameter, value in pairs if parameter.arg == name and value is not None), None)


def _declared_global(tree: ast.AST) -> set[str]:
    return {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}


def _names(name: str) -> Callable[[ast.AST], bool]:
    return lambda target: isinstance(target, ast.Name) and target.id == name


def _attributes(name: str) -> Callable[[ast.AST], bool]:
    return lambda target: isinstance(target, ast.Attribute) and target.attr == name


def _line(nodes: Iterable[ast.AST], is_meant: Callable[[ast.AST], bool], *, builds: bool = False) -> int | None:
    """The first assignment to a target that gives it more than None, or the first one at all.

    :param builds: take none that gives None.
    """
    fallback = None
    for node in nodes:
        if not isinstance(node, _BUILDERS):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not any(is_meant(each) for target in targets for each in ast.walk(target)):
            continue
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            return node.lineno
        fallback = fallback or node.lineno
    return None if builds else fallback
