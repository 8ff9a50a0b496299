"""What a test can get at through the caller's own code: functions, context variables, loggers, random draws."""

from __future__ import annotations

import inspect
import logging
import sys
import types
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller, code_of

__all__ = ["Reach", "reached", "setters"]

_FAR = 400
_SETS = {"dependency_overrides", "set"}
_CLOCKS = {"now", "today"}
_CLIENTS = {"ASGITransport", "TestClient"}
_ENVIRONMENT = {"environ", "getenv"}
_DRAWS = {
    "random",
    "randint",
    "randrange",
    "choice",
    "choices",
    "sample",
    "randbelow",
    "getrandbits",
    "uuid4",
    "token_hex",
    "uniform",
    "urandom",
}


@dataclass
class Reach:
    """The process-wide things that a test may use."""

    functions: list[Any] = field(default_factory=list)
    variables: dict[str, ContextVar[Any]] = field(default_factory=dict)
    loggers: set[str] = field(default_factory=set)

    def environment(self) -> list[str]:
        """The texts in functions that look at the environment, the variables' names among them."""
        reading = [code for each in self.functions if _ENVIRONMENT & set(_names(code := _code(each)))]
        return sorted({each for code in reading for each in code.co_consts if isinstance(each, str)})

    def as_fact(self, caller: Caller) -> Fact:
        """Names, and the functions that draw at random, ask for the time, sleep or make a client, with their source."""
        asking = [code for each in self.functions if _CLOCKS & set(_names(code := _code(each)))]
        drawing = [code for each in self.functions if _DRAWS & set(_names(code := _code(each)))]
        sleeping = [code for each in self.functions if "sleep" in _names(code := _code(each))]
        calling = [code for each in self.functions if _CLIENTS & set(_names(code := _code(each)))]
        setting = [each for each in self.functions if "set" in _names(_code(each))]
        return {
            "variables": sorted(self.variables),
            "sets": sorted({v.name for each in setting for v in _named(each, caller) if isinstance(v, ContextVar)}),
            "loggers": sorted(self.loggers),
            "draws": [caller.function(code) for code in drawing[:10]],
            "clocks": [caller.function(code) for code in asking[:10]],
            "sleeps": [caller.function(code) for code in sleeping[:10]],
            "clients": [caller.function(code) for code in calling[:10]],
        }


def reached(things: list[Any], caller: Caller) -> Reach:
    """What functions and objects use, directly or through functions and classes of the caller that they name; nearest first."""
    waiting = deque(things)
    seen: set[int] = set()
    reach = Reach()
    while waiting and len(seen) < _FAR:
        thing = waiting.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, ContextVar):
            reach.variables[thing.name] = thing
        elif isinstance(thing, logging.Logger):
            reach.loggers.add(thing.name)
        else:
            code = None if isinstance(thing, type) else code_of(thing)
            if code is not None and caller.owns(code.co_filename):
                reach.functions.append(thing)
            waiting += _named(thing, caller)
    return reach


def setters(function: Any, caller: Caller) -> list[Fact]:
    """The functions that one calls and that override a dependency or set a context variable, with those variables."""
    found = []
    for each in reached([function], caller).functions:
        code = _code(each)
        if each is not function and _SETS & set(_names(code)):
            variables = [value.name for value in _named(each, caller) if isinstance(value, ContextVar)]
            found.append({**caller.function(code), "variables": variables})
    return found[:10]


def _code(function: Any) -> types.CodeType:
    code: types.CodeType = inspect.unwrap(function).__code__
    return code


def _named(thing: Any, caller: Caller) -> Iterator[Any]:
    """What one function, class or object of the caller names."""
    code = None if isinstance(thing, type) else code_of(thing)
    if isinstance(thing, type):
        yield from (value for value in vars(thing).values() if callable(value))
    elif code is None:
        routes = getattr(getattr(thing, "__dict__", {}).get("router"), "routes", ())
        yield from (route.endpoint for route in routes if hasattr(route, "endpoint"))
        # A test client, of which only the application is the caller's.
        yield from (
            each
            for each in (getattr(thing, "app", None), getattr(getattr(thing, "_transport", None), "app", None))
            if each
        )
        if caller.owns(getattr(sys.modules.get(type(thing).__module__), "__file__", None) or ""):
            yield type(thing)
    elif caller.owns(code.co_filename):
        yield from _globals(thing, set(_names(code)), caller)
        yield from _dependencies(thing)


def _dependencies(function: Any) -> Iterator[Any]:
    """What FastAPI would call for a function's parameters."""
    function = inspect.unwrap(function)
    given = [
        *(getattr(function, "__defaults__", None) or ()),
        *(getattr(function, "__kwdefaults__", None) or {}).values(),
    ]
    for annotation in getattr(function, "__annotations__", {}).values():
        given += getattr(annotation, "__metadata__", ())
    yield from (each.dependency for each in given if callable(getattr(each, "dependency", None)))


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
