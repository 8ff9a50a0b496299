"""Exact changes of a text: only the characters in question, everything else stays as it was written."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from savepoint_ci.doctor.source import Node, Source

__all__ = [
    "Edit",
    "after_statement",
    "apply",
    "argument",
    "deletion",
    "diff",
    "import_line",
    "insertion",
    "replacement",
    "span",
    "written",
]

Located = ast.expr | ast.stmt | ast.arg | ast.keyword

_LINE_ENDS = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")


@dataclass(frozen=True, order=True)
class Edit:
    """The characters from `start` to `end` of a file become `text`."""

    path: PurePosixPath
    start: int
    end: int
    text: str


def offset(text: str, line: int, column: int) -> int:
    """The character at a position of a syntax tree, whose columns count UTF-8 bytes."""
    lines = _LINE_ENDS.split(text)
    before = sum(len(each) for each in lines[: line - 1])
    return before + len(lines[line - 1].encode()[:column].decode())


def span(source: Source, node: Located) -> tuple[int, int]:
    """First and last position of a node in the text."""
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return offset(source.text, node.lineno, node.col_offset), offset(source.text, end_line, end_column)


def written(source: Source, node: Located) -> str:
    """A node as it stands in the file."""
    start, end = span(source, node)
    return source.text[start:end]


def replacement(source: Source, node: ast.expr | ast.stmt, text: str) -> Edit:
    return Edit(source.path, *span(source, node), text)


def insertion(source: Source, node: ast.expr | ast.stmt, text: str) -> Edit:
    """A text in front of a node."""
    start, _ = span(source, node)
    return Edit(source.path, start, start, text)


def argument(source: Source, call: ast.Call, text: str) -> Edit:
    """One more argument at the end of a call."""
    _, end = span(source, call)
    given = [*call.args, *(each.value for each in call.keywords)]
    if not given:
        return Edit(source.path, end - 1, end - 1, text)
    _, last = max(span(source, each) for each in given)
    trailing = source.text[last : end - 1]
    return (
        Edit(source.path, last, last, f", {text}") if "(" not in trailing else Edit(source.path, end - 1, end - 1, text)
    )


def after_statement(source: Source, node: ast.stmt, lines: Iterable[str]) -> Edit:
    """Lines after a statement, indented as it is."""
    _, end = span(source, node)
    ending = _ending(source.text)
    return Edit(source.path, end, end, "".join(f"{ending}{' ' * node.col_offset}{line}" for line in lines))


def deletion(source: Source, node: Node | ast.stmt, *, tight: bool = False) -> Edit:
    """A statement on lines of its own, with its decorators, the comments above it, and the gap below it.

    :param tight: the gap stays, for a line among others.
    """
    lines = _LINE_ENDS.split(source.text)
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)]) - 1
    last = node.end_lineno or node.lineno
    while not tight and first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    while not tight and last < len(lines) and not lines[last].strip():
        last += 1
    if tight and (not first or not lines[first - 1].strip()):
        while last < len(lines) and not lines[last].strip():
            last += 1
    if last == len(lines):
        while first and not lines[first - 1].strip():
            first -= 1
    return Edit(source.path, sum(map(len, lines[:first])), sum(map(len, lines[:last])), "")


def import_line(source: Source, line: str) -> Edit | None:
    """An import, next to those that are there; None when the file has it already."""
    wanted = ast.parse(line).body[0]
    imports = [node for node in source.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    if any(ast.dump(wanted) == ast.dump(each) for each in imports):
        return None
    plain = [
        node
        for node in imports
        if isinstance(node, ast.Import) == isinstance(wanted, ast.Import)
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    ]
    earlier = [node for node in plain if _sort_key(node) < _sort_key(wanted)]
    ending = _ending(source.text)
    if earlier:
        _, end = span(source, earlier[-1])
        return Edit(source.path, end, end, f"{ending}{line}")
    body = [node for node in source.tree.body if not _is_docstring(node) and not _is_future(node)]
    if not body:
        return Edit(source.path, len(source.text), len(source.text), f"{line}{ending}")
    first = (plain or body)[0]
    start = offset(source.text, min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))]), 0)
    return Edit(source.path, start, start, f"{line}{ending}")


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; deletions that overlap become one, of others that do the first one counts."""
    done, at = [], 0
    for edit in sorted(set(edits)):
        if edit.start < at:
            at = max(at, edit.end) if not edit.text else at
            continue
        done += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*done, text[at:]])


def diff(path: PurePosixPath, before: str | None, after: str) -> str:
    """A unified diff that `git apply` takes; `before` is None for a file that is new."""
    old = "/dev/null" if before is None else f"a/{path}"
    lines = difflib.unified_diff(_lines(before or ""), _lines(after), old, f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """The lines as git counts them: only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _sort_key(node: ast.stmt) -> str:
    if isinstance(node, ast.ImportFrom):
        return node.module or ""
    return node.names[0].name if isinstance(node, ast.Import) else ""


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
