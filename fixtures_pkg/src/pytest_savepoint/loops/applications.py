"""The ASGI application of a failure: its lifespan, and the endpoint that was being answered."""

from __future__ import annotations

import ast
import dis
import inspect
import types
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller, code_of
from pytest_savepoint.syntax import nodes_of

__all__ = ["endpoint_in", "lifespan_in", "unseen_by_middleware"]


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
                    stores |= _yielded(caller.function(code))
                    return {**caller.function(code), "stores": sorted(stores), "unset": sorted(_unset(context, code))}
    return None


def _yielded(lifespan: Fact) -> set[str]:
    """The keys of the state that a lifespan yields for its requests."""
    states = [node.value for node in nodes_of(lifespan) if isinstance(node, ast.Yield) and isinstance(node.value, ast.Dict)]
    return {
        key.value
        for state in states
        for key in state.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def _unset(context: Any, code: types.CodeType) -> set[str]:
    """The globals that a lifespan would set or fill and that have no value or nothing in them yet."""
    names = {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_GLOBAL"}
    for function in _functions(context):
        if code_of(function) is code:
            scope = inspect.unwrap(function).__globals__
            filled = {name for name in _filled(code) if isinstance(scope.get(name), dict) and not scope[name]}
            return filled | {name for name in names if scope.get(name) is None}
    return set()


def _filled(code: types.CodeType) -> Iterator[str]:
    """The globals in which a function stores something under a key."""
    latest = None
    for each in dis.get_instructions(code):
        if each.opname == "LOAD_GLOBAL":
            latest = each.argval
        elif each.opname == "STORE_SUBSCR" and latest is not None:
            yield latest


def _codes(function: Any) -> Iterator[types.CodeType]:
    """The code of a function and of the functions that its decorators closed over."""
    for each in _functions(function):
        code = code_of(each)
        if code is not None:
            yield code


def _functions(function: Any, depth: int = 4) -> Iterator[Any]:
    if code_of(function) is None:
        return
    yield function
    cells = getattr(function, "__closure__", None) or ()
    for cell in cells if depth else ():
        try:
            inner = cell.cell_contents
        except ValueError:
            continue  # an empty cell
        if callable(inner):
            yield from _functions(inner, depth - 1)


def endpoint_in(frames: Iterable[Any], caller: Caller) -> Fact | None:
    """The caller's function that FastAPI was answering a request with."""
    for frame in frames:
        dependant = frame.f_locals.get("dependant")
        code = code_of(getattr(dependant, "call", None))
        if code is not None and caller.owns(code.co_filename):
            return caller.function(code)
    return None


def unseen_by_middleware(functions: list[Any], applications: list[Any], caller: Caller) -> list[Fact]:
    """The context variables that a middleware reads after the endpoint, in a context of its own, and that the endpoint sets.

    :param functions: what the failing test can get at, endpoints included.
    """
    found = []
    for app in applications:
        for middleware in getattr(app, "user_middleware", ()):
            dispatch = middleware.kwargs.get("dispatch") or getattr(middleware.cls, "dispatch", None)
            code = code_of(dispatch)
            if code is None or not caller.owns(code.co_filename):
                continue
            for variable, line in _read_after_endpoint(dispatch, caller):
                setter = next(
                    (each for each in functions if each is not dispatch and _sets(each, variable, caller)), None
                )
                if setter is not None:
                    set_in = caller.function(inspect.unwrap(setter).__code__)
                    found.append({**caller.function(code), "line": line, "variable": variable.name, "set_in": set_in})
    return found


def _read_after_endpoint(dispatch: Any, caller: Caller) -> Iterator[tuple[ContextVar[Any], int]]:
    function = caller.function(inspect.unwrap(dispatch).__code__, limit=400)
    nodes = nodes_of(function)
    answered = [node.lineno for node in nodes if isinstance(node, ast.Await) and isinstance(node.value, ast.Call)]
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            variable = _variable(dispatch, node.func.value)
            if variable is not None and answered and node.lineno > min(answered):
                yield variable, node.lineno


def _sets(function: Any, variable: ContextVar[Any], caller: Caller) -> bool:
    nodes = nodes_of(caller.function(inspect.unwrap(function).__code__))
    return any(
        isinstance(node, ast.Attribute) and node.attr == "set" and _variable(function, node.value) is variable
        for node in nodes
    )


def _variable(function: Any, node: ast.AST) -> ContextVar[Any] | None:
    """The context variable that an expression of a function names."""
    scope = inspect.unwrap(function).__globals__
    value = None
    if isinstance(node, ast.Name):
        value = scope.get(node.id)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        value = getattr(scope.get(node.value.id), node.attr, None)
    return value if isinstance(value, ContextVar) else None
