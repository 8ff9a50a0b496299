"""What really ran, known without any coverage tool: markers written into the application's syntax tree.

A pytest plugin (`-p truth`). It imports `measured` with a marker before each statement and in each arm of each branch,
and writes the lines and arms that were reached to `$TRUTH/<pid>.json`. A coverage core is right when it agrees.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

MODULE = "measured"
lines: set[int] = set()
arms: set[tuple[int, int, bool]] = set()
all_lines: set[int] = set()
all_arms: set[tuple[int, int, bool]] = set()


def reached(line: int) -> None:
    lines.add(line)


def took(line: int, body: int, arm: bool) -> None:
    arms.add((line, body, arm))


def marker(function: str, *values: object, at: ast.AST) -> ast.stmt:
    call = ast.Call(ast.Name(function, ast.Load()), [ast.Constant(value) for value in values], [])
    return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), at))


class Markers(ast.NodeTransformer):
    """Put a marker before each statement and at the start of both arms of `if`, `for`, `async for` and `while`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        first_lines = {
            name: [statement.lineno for statement in getattr(node, name)]
            for name in ("body", "orelse", "finalbody")
            if isinstance(getattr(node, name, None), list)
        }
        super().generic_visit(node)
        for name in first_lines:
            setattr(node, name, self.marked(getattr(node, name)))
        if isinstance(node, (ast.If, ast.For, ast.AsyncFor, ast.While)):
            body = first_lines["body"][0]
            node.body.insert(0, marker("__took__", node.lineno, body, True, at=node))
            node.orelse.insert(0, marker("__took__", node.lineno, body, False, at=node))
            all_arms.update({(node.lineno, body, True), (node.lineno, body, False)})
        return node

    @staticmethod
    def marked(statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
            if not (docstring or future):
                result.append(marker("__reached__", statement.lineno, at=statement))
                all_lines.add(statement.lineno)
            result.append(statement)
        return result


class MarkedLoader(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, **_: Any) -> Any:
        return compile(Markers().visit(ast.parse(data)), path, "exec", dont_inherit=True)

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: Any) -> None:
        module.__dict__.update(__reached__=reached, __took__=took)
        super().exec_module(module)


class MarkedFinder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            loader: Loader = MarkedLoader(fullname, spec.origin)
            spec.loader = loader
        return spec


sys.meta_path.insert(0, MarkedFinder())


def pytest_sessionfinish() -> None:
    folder = Path(os.environ["TRUTH"])
    facts = {"lines": lines, "arms": arms, "all_lines": all_lines, "all_arms": all_arms}
    text = json.dumps({name: sorted(values) for name, values in facts.items()})
    (folder / f"{os.getpid()}.json").write_text(text)
