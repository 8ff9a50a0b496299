"""What a test can get at through the caller's own code: the context variables and loggers that it may read."""

from __future__ import annotations

import inspect
import logging
import sys
import types
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller, code_of

__all__ = ["reached"]

_FAR = 400
_DRAWS = {"random", "randint", "randrange", "choice", "choices", "sample", "randbelow", "getrandbits", "uuid4", "token_hex"}


def reached(functions: list[Any], caller: Caller) -> Fact:
    """The process-wide things that functions use, directly or through functions and classes of the caller that they name."""
    waiting = list(functions)
    seen: set[int] = set()
    variables: set[str] = set()
    loggers: set[str] = set()
    draws: list[types.CodeType] = []
    while waiting and len(seen) < _FAR:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, ContextVar):
            variables.add(thing.name)
        elif isinstance(thing, logging.Logger):
            loggers.add(thing.name)
        else:
            code = None if isinstance(thing, type) else code_of(thing)
            if code is not None and caller.owns(code.co_filename) and _DRAWS & set(_names(code)):
                draws.append(code)
            waiting += _named(thing, caller)
    return {
        "variables": sorted(variables),
        "loggers": sorted(loggers),
        "draws": [caller.function(code) for code in draws[:10]],
    }


def _named(thing: Any, caller: Caller) -> Iterator[Any]:
    """What one function, class or object of the caller names."""
    code = None if isinstance(thing, type) else code_of(thing)
    if isinstance(thing, type):
        yield from (value for value in vars(thing).values() if callable(value))
    elif code is None:
        routes = getattr(getattr(thing, "__dict__", {}).get("router"), "routes", ())
        yield from (route.endpoint for route in routes if hasattr(route, "endpoint"))
        if caller.owns(getattr(sys.modules.get(type(thing).__module__), "__file__", None) or ""):
            yield type(thing)
    elif caller.owns(code.co_filename):
        yield from _globals(thing, set(_names(code)), caller)


def _globals(function: Any, names: set[str], caller: Caller) -> Iterator[Any]:
    try:
        used = inspect.getclosurevars(inspect.unwrap(function)).nonlocals
    except (TypeError, ValueError):
        used = {}
    yield from used.values()
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    for value in (scope[name] for name in names if name in scope):
        if not isinstance(value, types.ModuleType):
            yield value
        elif caller.owns(getattr(value, "__file__", None) or ""):
            # In `module.attribute` both are names of the code.
            yield from (vars(value)[each] for each in names if each in vars(value))


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
