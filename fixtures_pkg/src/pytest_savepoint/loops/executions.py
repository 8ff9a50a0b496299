"""Each statement that SQLAlchemy hands to a driver, told by the methods of its dialects.

One listener of SQLAlchemy's own for statements or transactions sends every engine of the process along a longer way for
each of them, which costs more than what is recorded of it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from pytest_savepoint.arrival import when_imported
from pytest_savepoint.loops.patches import Patches

__all__ = ["After", "Before", "tell_executions"]

Before = Callable[[str, Any, Any], object]
"""Takes the text, the parameters and SQLAlchemy's context of a statement that is about to be sent."""
After = Callable[[str, Any, float], object]
"""Takes the text, the cursor and the seconds of a statement that was answered."""

_METHODS = ("do_execute", "do_executemany", "do_execute_no_params")
_patches = Patches()
_installed = contextlib.ExitStack()
_before: list[Before] = []
_after: list[After] = []


def tell_executions(*, before: Before | None = None, after: After | None = None) -> Callable[[], None]:
    """Have functions called around each statement of every engine, and give the way back; they must not raise."""
    if not (_before or _after):
        _installed.callback(_patches.restore)
        _installed.callback(when_imported("sqlalchemy", _install))
    if before is not None:
        _before.append(before)
    if after is not None:
        _after.append(after)

    def stop() -> None:
        if before is not None:
            _before.remove(before)
        if after is not None:
            _after.remove(after)
        if not (_before or _after):
            _installed.close()

    return stop


def _install() -> None:
    from sqlalchemy import Engine
    from sqlalchemy.engine.default import DefaultDialect

    for name in _METHODS:
        _patches.wrap(DefaultDialect, name, _watch)
    _patches.listen(Engine, "do_connect", _see, first=True)


def _see(dialect: Any, _record: Any, _arguments: Any, _parameters: Any) -> None:
    """psycopg2's dialect, which is imported when it is needed, has an executemany of its own."""
    if dialect.driver == "psycopg2":
        kind = next(kind for kind in type(dialect).__mro__ if "do_executemany" in vars(kind))
        if not hasattr(vars(kind)["do_executemany"], "__wrapped__"):
            _patches.wrap(kind, "do_executemany", _watch)


def _watch(original: Callable[..., Any]) -> Callable[..., Any]:
    def execute(dialect: Any, cursor: Any, statement: str, *rest: Any, **named: Any) -> Any:
        context = named["context"] if named else rest[-1]
        parameters = rest[0] if len(rest) > 1 else ()
        for tell in _before:
            tell(statement, parameters, context)
        began = time.perf_counter()
        result = original(dialect, cursor, statement, *rest, **named)
        seconds = time.perf_counter() - began
        for tell_after in _after:
            tell_after(statement, cursor, seconds)
        return result

    return execute
