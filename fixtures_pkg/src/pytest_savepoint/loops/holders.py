"""Who holds an object: a fixture's value, or what a module of the caller keeps for the whole process."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.assignments import Assignments
from pytest_savepoint.loops.frames import Caller, code_of
from pytest_savepoint.loops.patches import harmless

__all__ = ["Holders"]

_DEEPEST = 4
_MOST = 50_000
_PLAIN = (str, bytes, int, float, complex, bool, type(None), ModuleType)
_CACHE = type(functools.lru_cache(lambda: None))


@dataclass(frozen=True)
class _Way:
    """How a module's global leads to an object, directly or through other objects."""

    module: ModuleType
    name: str
    owner: Any = None
    """The class or function on the way that is nearest to the object; None when there is none."""
    attribute: str | None = None
    """The name there of what holds the object; a cached function has none for what it remembers."""


class Holders:
    """The holders that one failure meets; what it saw of the caller's modules is kept for that failure only.

    :param fixtures: the values of the failing test's fixtures by name.
    """

    def __init__(self, caller: Caller, fixtures: dict[str, Any]) -> None:
        self._caller = caller
        self._assignments = Assignments(caller)
        self._fixtures = fixtures
        self._ways: dict[int, _Way] | None = None

    @harmless
    def find(self, thing: Any) -> Fact | None:
        """The fixture or global through which an object is reached, nearest first."""
        for name, value in self._fixtures.items():
            if value is thing or any(each is thing for each in list(getattr(value, "__dict__", {}).values())):
                return {"kind": "fixture", "name": name}
        if self._ways is None:
            self._ways = self._walk()
        way = self._ways.get(id(thing))
        return self._described(way) if way is not None else None

    def _described(self, way: _Way) -> Fact:
        owner, attribute = way.owner, way.attribute
        if isinstance(owner, type) and attribute is not None:
            site = self._assignments.of_class(sys.modules.get(owner.__module__), owner.__name__, attribute)
            return {"kind": "class", "name": f"{owner.__module__}.{owner.__qualname__}.{attribute}", **site}
        if isinstance(owner, FunctionType | _CACHE):
            # What a library's decorator made of a function has the function's names and the library's code.
            code = getattr(owner, "__code__", None)
            code = code if code is not None and self._caller.owns(code.co_filename) else code_of(owner)
            if code is not None:
                site = self._assignments.of_function(code, attribute)
                return {"kind": "function", "name": f"{owner.__module__}.{owner.__name__}", **site}
        site = self._assignments.of_global(way.module, way.name, vars(way.module).get(way.name))
        return {"kind": "global", "name": f"{way.module.__name__}.{way.name}", **site}

    def _walk(self) -> dict[int, _Way]:
        """Everything that the caller's modules hold, by id, nearest first."""
        modules = [each for each in list(sys.modules.values()) if self._is_of_caller(each)]
        names = {each.__name__ for each in modules}
        ways: dict[int, _Way] = {}
        level = [
            (value, _Way(module, name))
            for module in modules
            for name, value in list(vars(module).items())
            # What was imported is met where it comes from.
            if not (isinstance(value, FunctionType | type) and value.__module__ != module.__name__)
        ]
        for _ in range(_DEEPEST):
            further = []
            for value, way in level:
                if isinstance(value, _PLAIN) or id(value) in ways or len(ways) >= _MOST:
                    continue
                ways[id(value)] = way
                held = _all_held_by(value, names) or ()
                makes = isinstance(value, FunctionType | _CACHE | type)
                further += [(each, _Way(way.module, way.name, value, name) if makes else way) for name, each in held]
            level = further
        return ways

    def _is_of_caller(self, module: Any) -> bool:
        filename = getattr(module, "__file__", None)
        return isinstance(module, ModuleType) and isinstance(filename, str) and self._caller.owns(filename)


@harmless
def _all_held_by(owner: Any, modules: set[str]) -> list[tuple[str | None, Any]]:
    return list(_held_by(owner, modules))


def _held_by(owner: Any, modules: set[str]) -> Iterator[tuple[str | None, Any]]:
    """What an object holds, with the name it has there.

    :param modules: those of the caller; the classes and functions of others hold nothing of his.
    """
    if isinstance(owner, FunctionType | _CACHE | type) and owner.__module__ not in modules:
        return
    if isinstance(owner, ContextVar):
        with contextlib.suppress(LookupError):  # it has no default
            yield None, contextvars.Context().run(owner.get)
    elif isinstance(owner, dict | list | tuple | set | frozenset | _CACHE):
        yield from ((None, each) for each in _members(owner))
    elif isinstance(owner, FunctionType):
        yield from _held_by_function(owner)
    else:
        yield from list(getattr(owner, "__dict__", {}).items())


def _members(owner: Any) -> list[Any]:
    if isinstance(owner, _CACHE):
        # The only way to what it remembers: of a limited cache each result, of an unlimited one the dictionary.
        held = gc.get_referents(owner)
        return [value for each in held for value in (each.values() if isinstance(each, dict) else (each,))]
    return list(owner.values() if isinstance(owner, dict) else owner)


def _held_by_function(function: FunctionType) -> Iterator[tuple[str | None, Any]]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            yield name, cell.cell_contents
