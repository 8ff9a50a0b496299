"""What each xdist worker collected, and where two of them differ."""

from __future__ import annotations

import ast
from pathlib import Path

from pytest_savepoint.evidence import Fact

__all__ = ["Collections"]


class Collections:
    """Compares the workers' lists of tests as they come in.

    :param root: pytest's root folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._first: tuple[str, list[str]] | None = None

    def add(self, worker: str, tests: list[str]) -> Fact | None:
        """One worker's list; the fact of how it differs from the first one, if it does."""
        if self._first is None:
            self._first = worker, tests
        other, expected = self._first
        pairs = zip(expected, tests, strict=False)
        at = next((n for n, (left, right) in enumerate(pairs) if left != right), None)
        if at is None and len(expected) == len(tests):
            return None
        at = min(len(expected), len(tests)) if at is None else at
        test = (expected + tests)[at] if at < len(expected) else tests[at]
        return {
            "kind": "collections_differ",
            "at": 0,
            "worker": worker,
            "test": test,
            "when": "collect",
            "workers": [other, worker],
            "same_tests": sorted(expected) == sorted(tests),
            "examples": [each[at] for each in (expected, tests) if at < len(each)],
            "site": self._parametrize_site(test),
        }

    def _parametrize_site(self, nodeid: str) -> Fact | None:
        path, _, rest = nodeid.partition("::")
        name = rest.partition("[")[0].rpartition("::")[2]
        try:
            tree = ast.parse((self._root / path).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                lines = [each.lineno for each in node.decorator_list if "parametrize" in ast.dump(each)]
                return {"path": path, "line": (lines or [node.lineno])[0], "name": name}
        return None
