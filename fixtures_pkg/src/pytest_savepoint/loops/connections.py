"""Every engine, pool and database connection: who made it, and on which loop."""

from __future__ import annotations

import contextlib
import re
import sys
import weakref
from collections.abc import Callable
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, source_line, walk
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["BORN", "Connections"]

BORN = "savepoint"
"""The key under which a pool's record carries what is known of its connection."""

_SSL_REQUIRED = 3
_ASSIGNED = re.compile(r"^\s*(?:self\.)?(\w+)\s*(?::[^=]+)?=[^=]")


class Connections:
    """Watches SQLAlchemy's engines and asyncpg's own connections; only observes, never changes one."""

    def __init__(self, recorder: Recorder, caller: Caller, loops: Loops) -> None:
        self._recorder = recorder
        self._caller = caller
        self._loops = loops
        self._engines: weakref.WeakKeyDictionary[Any, Fact] = weakref.WeakKeyDictionary()  # by dialect
        self._drivers: weakref.WeakKeyDictionary[Any, Fact] = weakref.WeakKeyDictionary()  # by driver's connection
        self._numbered: dict[int, Fact] = {}  # the living connections of drivers
        self._backends: dict[int, int] = {}  # by the server's process, the connection that had it last
        # asyncpg's pools take no weak reference; each new one overwrites what had its number before.
        self._pools: dict[int, Fact] = {}
        self._count = 0
        self.when_gone: Callable[[int], None] = lambda _number: None
        """Called with the number of a connection that was closed or collected."""

    def watch_sqlalchemy(self, patches: Patches) -> None:
        """Listen on the classes, so that engines made at import, before or later, are seen too."""
        from sqlalchemy import Engine
        from sqlalchemy.pool import Pool

        patches.wrap(Engine, "__init__", self._watch_engines)
        for target, name, listener in (
            (Engine, "do_connect", self._before_connect),
            (Pool, "connect", self._connected),
            (Pool, "close", self._closed),
            (Pool, "detach", self._closed),
        ):
            patches.listen(target, name, listener, first=True)

    def watch_asyncpg(self, patches: Patches) -> None:
        import asyncpg

        patches.wrap(asyncpg.connection.Connection, "__init__", self._watch_asyncpg_connections)
        patches.wrap(asyncpg.pool.Pool, "__init__", self._watch_asyncpg_pools)

    def of(self, thing: Any) -> Fact | None:
        """What is known of a driver's connection or pool, of SQLAlchemy's adapter around one, or of an engine."""
        if _is_of_asyncpg(thing, "Pool"):
            return self._pools.get(id(thing))
        for candidate in (thing, _attribute(thing, "driver_connection"), _attribute(thing, "dialect")):
            try:
                fact = self._drivers.get(candidate) or self._engines.get(candidate)
            except (TypeError, ValueError):
                continue  # not hashable, as a writable memoryview, or no weak reference to it
            if fact is not None:
                return fact
        return None

    def count(self) -> int:
        """How many connections of drivers are alive, in pools and elsewhere."""
        return len(self._drivers)

    def time_zones(self) -> set[str]:
        """The time zones of the living connections' sessions, as the drivers were told by the server."""
        zones = set()
        for connection in list(self._drivers):
            with contextlib.suppress(Exception):  # a closed connection has no settings any more
                if hasattr(connection, "get_settings"):
                    zones.add(str(connection.get_settings().TimeZone))
                else:
                    zones.add(str(connection.info.parameter_status("TimeZone")))
        return zones - {"None"}

    def numbered(self, number: int) -> Fact | None:
        """What is known of the living connection with a number."""
        return self._numbered.get(number)

    def behind(self, process: int) -> int | None:
        """The number of the connection that one of the server's processes serves, or served last."""
        return self._backends.get(process)

    def servers(self) -> list[tuple[dict[str, Any], list[int]]]:
        """How asyncpg reaches the servers of the living connections, each with the processes that serve them."""
        found: dict[tuple[Any, ...], tuple[dict[str, Any], list[int]]] = {}
        for connection in list(self._drivers):
            arguments, process = _arguments(connection), _process(connection)
            if arguments and process is not None:
                server = tuple(arguments[name] for name in ("host", "port", "user", "database"))
                found.setdefault(server, (arguments, []))[1].append(process)
        return list(found.values())

    def open_engines(self) -> list[Fact]:
        """The engines that have connections open, with how many."""
        return [dict(fact) for fact in self._engines.values() if fact["open"]]

    # -- engines --------------------------------------------------------------------------------------------------
    def _watch_engines(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(engine: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 # stands in for it
            original(engine, *args, **kwargs)
            self._remember("engine", engine.dialect, sys._getframe(1))  # noqa: SLF001 # the line that makes it

        return __init__

    def _watch_asyncpg_pools(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(pool: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            original(pool, *args, **kwargs)
            self._remember("pool", pool, sys._getframe(1))  # noqa: SLF001

        return __init__

    @harmless
    def _remember(self, kind: str, thing: Any, frame: Any) -> None:
        if kind == "engine":
            self._engines[thing] = self._maker(kind, frame)
        else:
            self._pools[id(thing)] = self._maker(kind, frame)

    def _maker(self, kind: str, frame: Any) -> Fact:
        sites, fixture = self._caller.look(frame, 1)
        site = sites[0] if sites else None
        fact: Fact = {
            "kind": kind,
            "site": site,
            "fixture": fixture,
            "variable": None,
            "global": False,
            "open": 0,
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
            if _belongs_to_loop(connection):
                self.born(connection, sys._getframe(1))  # noqa: SLF001

        return __init__

    @harmless
    def born(self, driver_connection: Any, frame: Any) -> Fact:
        """Remember a driver's connection, and who opens it."""
        self._count += 1
        sites, fixture = self._caller.look(frame, 1)
        fact: Fact = {
            "kind": "connection",
            "connection": self._count,
            "loop": self._loops.running(frame) if _belongs_to_loop(driver_connection) else None,
            "site": sites[0] if sites else None,
            "fixture": fixture,
            "test": self._recorder.test,
            "when": self._recorder.when,
            "maker": None,
            "database": getattr(getattr(driver_connection, "_params", None), "database", None),
        }
        with contextlib.suppress(TypeError):  # a driver's connection without weak references
            self._drivers[driver_connection] = fact
            self._numbered[self._count] = fact
            weakref.finalize(driver_connection, self._gone, self._count).atexit = False
        process = _process(driver_connection)
        if process is not None:
            self._backends[process] = self._count
        return fact

    def _gone(self, number: int) -> None:
        self._numbered.pop(number, None)
        self.when_gone(number)

    @harmless
    def _before_connect(self, dialect: Any, record: Any, _arguments: Any, _parameters: Any) -> None:
        record.info["savepoint.engine"] = self._engines.get(dialect)

    @harmless
    def _connected(self, adapter: Any, record: Any) -> None:
        driver_connection = getattr(adapter, "driver_connection", adapter)
        try:
            fact = self._drivers.get(driver_connection)
        except TypeError:
            fact = None
        if fact is None:
            fact = self.born(driver_connection, sys._getframe(1))  # noqa: SLF001
        maker = fact["maker"] = record.info.pop("savepoint.engine", None)
        if maker is not None:
            maker["open"] += 1
        record.info[BORN] = fact

    def now(self, fact: Fact) -> Fact:
        """A resource's fact with its loop as it is at this moment, open or closed."""
        return {**fact, "loop": self._loops.now(fact["loop"])}

    @harmless
    def _closed(self, _adapter: Any, record: Any) -> None:
        born = record.info.get(BORN)
        if born is not None:
            self.when_gone(born["connection"])
            if born["maker"] is not None:
                born["maker"]["open"] -= 1


def _attribute(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 # a property of the caller's may raise anything, and only looking must not
        return None


def _belongs_to_loop(connection: Any) -> bool:
    """Whether it works on the loop that opened it only: asyncpg's do, but not the sandbox's, which go from loop to loop."""
    return _is_of_asyncpg(connection, "Connection") and not getattr(type(connection), "belongs_to_no_loop", False)


def _process(connection: Any) -> int | None:
    """The server's process behind a driver's connection, as the driver was told when it connected."""
    with contextlib.suppress(Exception):  # a driver that is not told, or a connection that is closed already
        return int(connection.get_server_pid() if _is_of_asyncpg(connection, "Connection") else connection.info.backend_pid)
    return None


def _arguments(connection: Any) -> dict[str, Any]:
    """How to connect once more as a connection did; nothing for one that is closed or of another driver."""
    with contextlib.suppress(Exception):  # both read what drivers keep to themselves, or what a closed one has no more
        if _is_of_asyncpg(connection, "Connection"):
            address, given = connection._addr, connection._params  # noqa: SLF001 # no public way
            host, port = address if isinstance(address, tuple) else address.rsplit("/.s.PGSQL.", 1)
            # Below `require` there is a context, too, which would insist on what is only preferred.
            names = ["user", "password", "database", *(["ssl"] if given.sslmode >= _SSL_REQUIRED else [])]
            return {"host": host, "port": int(port), **{name: getattr(given, name) for name in names}}
        info = connection.info
        return {"host": info.host, "port": info.port, "user": info.user, "password": info.password, "database": info.dbname}
    return {}

def _is_of_asyncpg(thing: Any, name: str) -> bool:
    """Whether something is of one of asyncpg's classes; nothing is where nobody has imported it."""
    kind = getattr(sys.modules.get("asyncpg"), name, None)
    return kind is not None and isinstance(thing, kind)
