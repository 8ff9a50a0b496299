"""The ASGI application of a failure: its lifespan, and the endpoint that was being answered."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterable, Iterator
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller, code_of

__all__ = ["endpoint_in", "lifespan_in"]


def lifespan_in(frames: Iterable[Any], caller: Caller) -> Fact | None:
    """The caller's lifespan function of an application in the frames, with the names it stores."""
    for frame in frames:
        for thing in list(frame.f_locals.values()):
            router = getattr(thing, "__dict__", {}).get("router")
            context = getattr(router, "__dict__", {}).get("lifespan_context")
            for code in _codes(context):
                if caller.owns(code.co_filename):
                    stores = {
                        i.argval for i in dis.get_instructions(code) if i.opname in ("STORE_ATTR", "STORE_GLOBAL")
                    }
                    return {**caller.function(code), "stores": sorted(stores)}
    return None


def _codes(function: Any, depth: int = 4) -> Iterator[types.CodeType]:
    """The code of a function and of the functions that its decorators closed over."""
    code = code_of(function)
    if code is None:
        return
    yield code
    cells = getattr(function, "__closure__", None) or ()
    for cell in cells if depth else ():
        try:
            inner = cell.cell_contents
        except ValueError:
            continue  # an empty cell
        if callable(inner):
            yield from _codes(inner, depth - 1)


def endpoint_in(frames: Iterable[Any], caller: Caller) -> Fact | None:
    """The caller's function that FastAPI was answering a request with."""
    for frame in frames:
        dependant = frame.f_locals.get("dependant")
        code = code_of(getattr(dependant, "call", None))
        if code is not None and caller.owns(code.co_filename):
            return caller.function(code)
    return None
