"""The source of a function, as it was recorded, as a syntax tree."""

from __future__ import annotations

import ast
import textwrap

from pytest_savepoint.evidence import Fact

__all__ = ["nodes_of"]


def nodes_of(function: Fact) -> list[ast.AST]:
    """All nodes of a function's source, with line numbers of the file; nothing when it was cut short."""
    try:
        tree = ast.parse(textwrap.dedent("\n".join(function["source"])))
    except SyntaxError:
        return []
    ast.increment_lineno(tree, function["line"] - 1)
    return list(ast.walk(tree))
