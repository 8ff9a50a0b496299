"""Coroutines that nobody awaited, and the line that made each."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.frames import Caller, code_of
from pytest_savepoint.loops.patches import harmless

__all__ = ["Unawaited"]

_NEVER_AWAITED = re.compile(r"coroutine '(?P<name>[^']+)' was never awaited")
_CREATED_AT = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
# What stands here may be awaited by whoever gets it.
_HANDED_ON = (ast.Await, ast.Call, ast.keyword, ast.Return, ast.Yield, ast.List, ast.Tuple, ast.Set, ast.Starred)

Line = tuple[str, int]


class Unawaited:
    """Notes never-awaited coroutines of the caller.

    Python can tell where each coroutine was made, but then finds a line number for every one that is made, a quarter of
    what all evidence costs. So it is asked to from the first warning on; the first is placed by reading the source.
    """

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._depth: int | None = None

    def stop(self) -> None:
        if self._depth is not None:
            sys.set_coroutine_origin_tracking_depth(self._depth)

    @harmless
    def note(self, warning: Any, test: str, functions: Callable[[], list[Any]]) -> None:
        """Look at a warning.

        :param warning: as the warnings module recorded it.
        :param functions: gives what the test can get at.
        """
        text = str(warning.message)
        coroutine = _NEVER_AWAITED.match(text)
        if coroutine is None:
            return
        created = list(_CREATED_AT.finditer(text))
        line = (
            (created[-1]["path"], int(created[-1]["line"]))
            if created
            else self._read(coroutine["name"], (warning.filename, warning.lineno), functions())
        )
        if self._depth is None:
            self._depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(max(1, self._depth))
        if line is not None and self._caller.owns(line[0]):
            site = {"path": self._caller.path(line[0]), "line": line[1], "name": coroutine["name"]}
            fact = self._recorder.note("never_awaited", name=coroutine["name"], site=site)
            fact["test"] = test

    def _read(self, name: str, dropped: Line, functions: list[Any]) -> Line | None:
        """The line that let go of a coroutine if it also calls for one, else the only one within reach that does."""
        name = name.rpartition(".")[2]
        path, number = dropped
        if self._caller.owns(path):
            for call in _unawaited_calls(Path(path).read_text(encoding="utf-8"), name):
                if call.lineno <= number <= (call.end_lineno or call.lineno):
                    return path, call.lineno
        lines = {line for each in functions for line in _lines(each, name)}
        return lines.pop() if len(lines) == 1 else None


def _lines(function: Any, name: str) -> Iterator[Line]:
    code = code_of(function)
    if code is None or name not in code.co_names + code.co_freevars + code.co_cellvars + code.co_varnames:
        return
    source, first = inspect.getsourcelines(code)
    for call in _unawaited_calls(textwrap.dedent("".join(source)), name):
        yield code.co_filename, first + call.lineno - 1


def _unawaited_calls(source: str, name: str) -> Iterator[ast.Call]:
    """The calls of a name, or of an attribute of that name, whose value is neither awaited nor handed on."""
    for parent in ast.walk(ast.parse(source)):
        if isinstance(parent, _HANDED_ON):
            continue
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == name:
                yield node
