"""Calls that run at the same time: the arguments of `gather`, and the tasks of one task group."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from savepoint_ci.doctor.project import assigned
from savepoint_ci.doctor.source import Function, Source, inside

__all__ = ["Branch", "Group", "groups"]

_GATHER = ("asyncio.gather", "asyncio.wait", "asyncio.as_completed")
_TASK = ("asyncio.create_task", "asyncio.ensure_future")


@dataclass(frozen=True, eq=False)
class Branch:
    """One call; `repeated` when a loop or comprehension starts several of it."""

    call: ast.Call
    repeated: bool


@dataclass(frozen=True, eq=False)
class Group:
    """Calls that run at the same time, and the node that starts them."""

    node: ast.Call
    branches: tuple[Branch, ...]


def groups(function: Function) -> Iterator[Group]:
    source = function.source
    for node in inside(function.node):
        if isinstance(node, ast.Call) and source.dotted(node.func) in _GATHER:
            yield Group(node, tuple(branch for each in node.args for branch in _branches(function, each, False)))
        if isinstance(node, ast.AsyncWith):
            yield from _task_groups(source, node)


def _branches(function: Function, node: ast.expr, repeated: bool, depth: int = 4) -> Iterator[Branch]:
    match node:
        case ast.Starred(value=value):
            yield from _branches(function, value, repeated, depth)
        case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) | ast.SetComp(elt=element):
            yield from _branches(function, element, True, depth)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            for each in elements:
                yield from _branches(function, each, repeated, depth)
        case ast.Call() if function.source.dotted(node.func) in _TASK and node.args:
            yield from _branches(function, node.args[0], repeated, depth)
        case ast.Call():
            yield Branch(node, repeated)
        case ast.Name(id=name) if depth:
            if (given := assigned(function, name)) is not None:
                yield from _branches(function, given, repeated, depth - 1)


def _task_groups(source: Source, block: ast.AsyncWith) -> Iterator[Group]:
    for item in block.items:
        name = item.optional_vars
        if source.dotted(item.context_expr) != "asyncio.TaskGroup" or not isinstance(name, ast.Name):
            continue
        started = [
            each
            for each in inside(block)
            if isinstance(each, ast.Call) and ast.unparse(each.func) == f"{name.id}.create_task" and each.args
        ]
        branches = [
            Branch(each.args[0], _is_repeated(source, each, block))
            for each in started
            if isinstance(each.args[0], ast.Call)
        ]
        if branches:
            yield Group(started[0], tuple(branches))


def _is_repeated(source: Source, node: ast.AST, block: ast.AST) -> bool:
    loops = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.GeneratorExp, ast.SetComp)
    for each in source.around(node):
        if each is block:
            return False
        if isinstance(each, loops):
            return True
    return False
