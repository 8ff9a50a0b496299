"""What each xdist worker collected, and where two of them differ."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

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
        """The line that gives a test its parameters: its own decorator, a fixture's, or a pytest_generate_tests() nearby."""
        path, _, rest = nodeid.partition("::")
        name = rest.partition("[")[0].rpartition("::")[2]
        test = next((each for each in self._functions(path) if each.name == name), None)
        if test is None:
            return None
        own = _line_of(test.decorator_list, "parametrize")
        arguments = {each.arg for each in test.args.args}
        for file in () if own else _from_near_to_far(path):
            for function in self._functions(file):
                lines = function.decorator_list if function.name in arguments else []
                given = _line_of(lines, "params")
                if function.name == "pytest_generate_tests":
                    given = _line_of(ast.walk(function), "parametrize")
                if given:
                    return {"path": file, "line": given, "name": function.name}
        return {"path": path, "line": own or test.lineno, "name": name}

    def _functions(self, path: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        try:
            tree = ast.parse((self._root / path).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return []
        return [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def _from_near_to_far(path: str) -> list[str]:
    """A test's own file, then the conftest.py of its folder and of those around it."""
    folders = PurePosixPath(path).parents
    return [path, *(str(folder / "conftest.py") for folder in folders)]


def _line_of(nodes: Iterable[ast.AST], word: str) -> int | None:
    """The line of the first call with a word in its name or among its keywords."""
    calls = (each for each in nodes if isinstance(each, ast.Call))
    return next((each.lineno for each in calls if _names(each, word)), None)


def _names(call: ast.Call, word: str) -> bool:
    return word in {getattr(call.func, "attr", getattr(call.func, "id", None)), *(each.arg for each in call.keywords)}
