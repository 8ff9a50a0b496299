"""Every engine, pool and database connection: who made it, on which loop, and who holds it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import weakref
from collections.abc import Callable
from typing import Any

import asyncpg
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, source_line, walk
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.patches import Patches

__all__ = ["Connections"]

_ASSIGNED = re.compile(r"^\s*(?:self\.)?(\w+)\s*(?::[^=]+)?=[^=]")


class Connections:
    """Watches SQLAlchemy's engines and asyncpg's own connections; only observes, never changes one."""

    def __init__(self, recorder: Recorder, caller: Caller, loops: Loops) -> None:
        self._recorder = recorder
        self._caller = caller
        self._loops = loops
        self._engines: weakref.WeakKeyDictionary[Any, Fact] = weakref.WeakKeyDictionary()  # by dialect
        self._drivers: weakref.WeakKeyDictionary[Any, Fact] = weakref.WeakKeyDictionary()  # by driver's connection
        self._held: dict[int, Fact] = {}  # by id of the pool's record, from checkout to checkin
        self._listeners: list[tuple[Any, str, Callable[..., Any]]] = []
        self._count = 0

    def install(self, patches: Patches) -> None:
        """Listen on the classes, so that engines made at import, before or later, are seen too."""
        patches.wrap(Engine, "__init__", self._watch_engines)
        for target, name, listener in (
            (Engine, "do_connect", self._before_connect),
            (Pool, "connect", self._connected),
            (Pool, "checkout", self._checked_out),
            (Pool, "checkin", self._checked_in),
            (Pool, "close", self._closed),
            (Pool, "detach", self._closed),
        ):
            # First in line: another listener may answer do_connect and end the round.
            event.listen(target, name, listener, insert=True)
            self._listeners.append((target, name, listener))
        patches.wrap(asyncpg.connection.Connection, "__init__", self._watch_asyncpg_connections)
        patches.wrap(asyncpg.pool.Pool, "__init__", self._watch_asyncpg_pools)

    def uninstall(self) -> None:
        while self._listeners:
            target, name, listener = self._listeners.pop()
            event.remove(target, name, listener)

    def of(self, thing: Any) -> Fact | None:
        """What is known of a driver's connection or pool, of SQLAlchemy's adapter around one, or of an engine."""
        for candidate in (thing, getattr(thing, "driver_connection", None), getattr(thing, "dialect", None)):
            try:
                fact = self._drivers.get(candidate) or self._engines.get(candidate)
            except TypeError:
                continue  # not hashable, or no weak reference to it
            if fact is not None:
                return fact
        return None

    def held(self, pool: Any) -> list[Fact]:
        """The connections of a pool that are checked out now, with who holds each."""
        number = id(pool)
        return [dict(fact) for fact in self._held.values() if fact["pool"] == number]

    # -- engines --------------------------------------------------------------------------------------------------
    def _watch_engines(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(engine: Engine, *args: Any, **kwargs: Any) -> None:  # noqa: N807 # stands in for it
            original(engine, *args, **kwargs)
            self._engines[engine.dialect] = self._maker("engine", sys._getframe(1))  # noqa: SLF001 # as above

        return __init__

    def _watch_asyncpg_pools(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(pool: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            original(pool, *args, **kwargs)
            self._drivers[pool] = self._maker("pool", sys._getframe(1))  # noqa: SLF001

        return __init__

    def _maker(self, kind: str, frame: Any) -> Fact:
        site = self._caller.site(frame)
        fact: Fact = {
            "kind": kind,
            "site": site,
            "fixture": self._caller.fixture(frame),
            "variable": None,
            "global": False,
        }
        if site is not None:
            user = next(each for each in walk(frame) if self._caller.owns(each.f_code.co_filename))
            assigned = _ASSIGNED.match(source_line(user.f_code.co_filename, user.f_lineno))
            fact["global"] = user.f_code.co_name == "<module>"
            if assigned:
                fact["variable"] = assigned[1]
        fact["loop"] = self._loops.running(frame)
        fact["test"] = self._recorder.test
        return fact

    # -- connections ----------------------------------------------------------------------------------------------
    def _watch_asyncpg_connections(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(connection: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            original(connection, *args, **kwargs)
            self._born(connection, sys._getframe(1))  # noqa: SLF001

        return __init__

    def _born(self, driver_connection: Any, frame: Any) -> Fact:
        self._count += 1
        fact: Fact = {
            "kind": "connection",
            "connection": self._count,
            "loop": self._loops.running(frame),
            "site": self._caller.site(frame),
            "fixture": self._caller.fixture(frame),
            "test": self._recorder.test,
            "when": self._recorder.when,
            "maker": None,
        }
        with contextlib.suppress(TypeError):  # a driver's connection without weak references
            self._drivers[driver_connection] = fact
        return fact

    def _before_connect(self, dialect: Any, record: Any, _arguments: Any, _parameters: Any) -> None:
        record.info["savepoint.engine"] = self._engines.get(dialect)

    def _connected(self, adapter: Any, record: Any) -> None:
        driver_connection = getattr(adapter, "driver_connection", adapter)
        try:
            fact = self._drivers.get(driver_connection)
        except TypeError:
            fact = None
        if fact is None:
            fact = self._born(driver_connection, sys._getframe(1))  # noqa: SLF001
        fact["maker"] = record.info.pop("savepoint.engine", None)
        record.info["savepoint"] = fact

    def _checked_out(self, _adapter: Any, record: Any, fairy: Any) -> None:
        born: Fact | None = record.info.get("savepoint")
        frame = sys._getframe(1)  # noqa: SLF001
        here = self._loops.running(frame)
        sites = self._caller.stack(frame)
        self._held[id(record)] = {
            "pool": id(getattr(fairy, "_pool", None)),
            "sites": sites,
            "fixture": self._caller.fixture(frame),
            "test": self._recorder.test,
            "when": self._recorder.when,
            "task": _task_number(),
            "connection": born and born["connection"],
        }
        if born is None or born["loop"] is None or here is None:
            return
        if born["loop"]["loop"] != here["loop"]:
            self._recorder.note("crossed", resource=self.now(born), loop=here, sites=sites)

    def now(self, fact: Fact) -> Fact:
        """A resource's fact with its loop as it is at this moment, open or closed."""
        return {**fact, "loop": self._loops.now(fact["loop"])}

    def _checked_in(self, _adapter: Any, record: Any) -> None:
        self._held.pop(id(record), None)

    def _closed(self, _adapter: Any, record: Any) -> None:
        self._held.pop(id(record), None)


def _task_number() -> int | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return None if task is None else id(task)
