"""The line of a function that changes something which outlives it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller, code_of, site_of
from pytest_savepoint.syntax import nodes_of

__all__ = ["line_that_changes"]

_ROOT_LOGGER = {"addHandler", "removeHandler", "basicConfig", "fileConfig", "dictConfig"}
_CHANGING = {
    "add",
    "append",
    "clear",
    "discard",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "setdefault",
    "update",
}


def line_that_changes(what: str, name: str, functions: Iterable[Any], caller: Caller) -> Fact | None:
    """Read it off the sources of functions, nearest first.

    :param what: handlers, or module for an attribute.
    :param name: of the attribute, with its module before it.
    """
    attribute = name.rpartition(".")[2]
    for function in functions:
        code = code_of(function)
        if code is None or not caller.owns(code.co_filename):
            continue
        for node in nodes_of(caller.function(code)):
            if _calls(node, _ROOT_LOGGER) if what == "handlers" else _changes(node, attribute):
                return site_of(code, getattr(node, "lineno", code.co_firstlineno), caller.path(code.co_filename))
    return None


def _calls(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names


def _changes(node: ast.AST, attribute: str) -> bool:
    if isinstance(node, ast.Assign | ast.Delete):
        return any(_is_of(target, attribute) for target in node.targets)
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        return _is_of(node.target, attribute)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
        return any(isinstance(each, ast.Constant) and each.value == attribute for each in node.args)
    return _calls(node, _CHANGING) and _is_of(node.func.value, attribute)  # type: ignore[attr-defined] # an attribute


def _is_of(target: ast.AST, attribute: str) -> bool:
    """Whether a target is the attribute, or an item of it."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return (isinstance(target, ast.Name) and target.id == attribute) or (
        isinstance(target, ast.Attribute) and target.attr == attribute
    )
