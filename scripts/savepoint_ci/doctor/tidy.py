"""Takes out the imports and constants that edits have left without a user."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

from savepoint_ci.doctor.edits import Edit, apply, deletion, replacement, span
from savepoint_ci.doctor.source import Source, parse

__all__ = ["tidied"]

_ROUNDS = 4
_WIDTH = 88
_GAP = 3
"""Line ends between two statements that two empty lines separate."""


def tidied(path: PurePosixPath, before: str, after: str) -> str:
    """The text after edits, without what was used before and is not any more.

    :raises SyntaxError: when the edits broke the file.
    """
    used_before = _used(ast.parse(before))
    for _ in range(_ROUNDS):
        source = parse(path, after)
        forgotten = used_before - _used(source.tree)
        cleaned = apply(after, [edit for node in source.tree.body if (edit := _without(source, node, forgotten))])
        if cleaned == after:
            break
        after = cleaned
    after = after if before[:1].isspace() else after.lstrip()
    return apply(after, _wide_gaps(path, after))


def _used(tree: ast.Module) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return names | {word for text in texts if text.isidentifier() for word in (text,)}


def _without(source: Source, node: ast.stmt, forgotten: set[str]) -> Edit | None:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) if name in forgotten and _is_plain(node.value):
            return deletion(source, node)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            kept = [each for each in names if (each.asname or each.name.partition(".")[0]) not in forgotten]
            if len(kept) == len(names):
                return None
            if not kept:
                return deletion(source, node, tight=True)
            if isinstance(node, ast.ImportFrom):
                return replacement(source, node, _from_import(node, [ast.unparse(each) for each in kept]))
    return None


def _wide_gaps(path: PurePosixPath, text: str) -> Iterator[Edit]:
    """Gaps of more than two lines between statements of the module become such of two."""
    source = parse(path, text)
    for above, below in pairwise(source.tree.body):
        start, end = span(source, above)[1], span(source, _first_line(below))[0]
        gap = text[start:end]
        ending = "\r\n" if "\r\n" in gap else "\n"
        if not gap.strip() and gap.count("\n") > _GAP:
            yield Edit(path, start, end, ending * _GAP)


def _first_line(node: ast.stmt) -> ast.stmt:
    """The decorator of a definition stands above it."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    return ast.Pass(lineno=first, col_offset=0, end_lineno=first, end_col_offset=0)


def _is_plain(value: ast.expr) -> bool:
    """Nothing happens when it is evaluated, or it only makes an engine or session factory that nobody uses."""
    calls = [ast.unparse(each.func) for each in ast.walk(value) if isinstance(each, ast.Call)]
    return all(call.endswith(("create_async_engine", "sessionmaker", "getenv", "environ.get")) for call in calls)


def _from_import(node: ast.ImportFrom, names: list[str]) -> str:
    head = f"from {'.' * node.level}{node.module or ''} import "
    line = head + ", ".join(names)
    return line if len(line) <= _WIDTH else f"{head}(\n" + "".join(f"    {name},\n" for name in names) + ")"
