"""The tests that a pull request adds or rewrites."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from savepoint_ci.invocation import Invocation
from savepoint_ci.suite.changed_lines import changed_lines
from savepoint_ci.suite.merge_base import NoBaseError

__all__ = ["changed_tests"]


def changed_tests(invocation: Invocation, tests: Sequence[str]) -> list[str]:
    """Those of `tests` in whose function a line was changed since the base; none outside of a pull request.

    :param tests: node ids.
    """
    settings, environ = invocation.settings, invocation.environ
    if not settings.compare_to and not environ.get("GITHUB_BASE_REF"):
        return []
    try:
        lines = changed_lines(invocation.project, compare_to=settings.compare_to, environ=environ)
    except NoBaseError:
        return []  # the report says it, where it says why changed lines were not measured
    files = {test.partition("::")[0] for test in tests} & lines.keys()
    changed = {name for path in files for name in _functions(invocation.project / path, path, lines[path])}
    return [test for test in tests if test.partition("[")[0] in changed]


def _functions(file: Path, path: str, lines: Collection[int]) -> Iterator[str]:
    """The node ids, without parameters, of the functions of a file that contain one of these lines."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    waiting: list[tuple[str, ast.AST]] = [(path, tree)]
    while waiting:
        name, parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.ClassDef):
                waiting.append((f"{name}::{node.name}", node))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min((each.lineno for each in node.decorator_list), default=node.lineno)
                if any(first <= line <= (node.end_lineno or node.lineno) for line in lines):
                    yield f"{name}::{node.name}"
