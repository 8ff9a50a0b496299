"""What a failure still holds when pytest hands it over: the objects in its frames, read before they are gone."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.applications import endpoint_in, lifespan_in
from pytest_savepoint.loops.connections import Connections
from pytest_savepoint.loops.frames import Caller, site_of, source_line
from pytest_savepoint.loops.holders import Holders
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.orm import loaded_in, stamped_by_database, unloaded
from pytest_savepoint.loops.sessions import Sessions
from pytest_savepoint.loops.state import State
from pytest_savepoint.loops.tasks import Tasks

__all__ = ["Failures", "chain_of"]

_LONGEST = 600
_OTHER_LOOP = "attached to a different loop"
_ASYNCIO = re.compile(r"/asyncio/\w+\.py$")
_PLUGIN = re.compile(r"/site-packages/(?:(anyio)/pytest_plugin\.py|pytest_asyncio/)")


class Failures:
    """Turns an exception into plain facts."""

    def __init__(
        self,
        *,
        caller: Caller,
        loops: Loops,
        connections: Connections,
        tasks: Tasks,
        sessions: Sessions,
        state: State,
    ) -> None:
        self._caller = caller
        self._sessions = sessions
        self._state = state
        self._loops = loops
        self._connections = connections
        self._tasks = tasks

    def describe(
        self,
        error: BaseException,
        fixtures: dict[str, Any],
        compared: tuple[Any, ...],
        is_updated: Callable[[str, str, object], bool],
    ) -> Fact:
        """The exception with its causes, and what its frames held.

        :param fixtures: the values of the failing test's fixtures by name.
        :param compared: the two sides of the assertion that failed, or nothing.
        :param is_updated: tells whether the test updated a table's column to a value.
        """
        chain = list(chain_of(error))
        frames = [frame for each in chain for frame in _frames(each.__traceback__)]
        running = self._running(frames) or self._portal(chain)
        holders = Holders(self._caller, fixtures)
        foreign = self._foreign(frames, running, holders)
        shown = " ".join(repr(each)[:_LONGEST] for each in compared)
        session = self._sessions.involved(frames)
        return {
            "exceptions": [self._exception(each) for each in chain],
            "functions": self._functions(frames)[:12],
            "through": sorted({place for frame in frames if (place := self._place(frame))}),
            "loop": running,
            "foreign": foreign,
            "owner": self._owner(frames, holders) if foreign else None,
            "session": session,
            "given_by": self._sessions.given_by(session["session"], self.applications(error, fixtures))
            if session
            else None,
            "involved": self._involved(frames),
            "called": _called(frames, fixtures),
            "loop_unset": self._loops.unset,
            "pending": self._tasks.pending()[:12],
            "died": self._tasks.died()[:12],
            "carried": self._tasks.carried(shown)[:12] if compared else [],
            "ended": self._tasks.ended(shown, self._named(frames))[:12],
            "detached": self._unread(frames, holders, "detached") if _has(chain, "DetachedInstanceError") else None,
            "unread": self._unread(frames, holders, "relationships") if _has(chain, "MissingGreenlet") else None,
            "loaded": loaded_in(self._locals(frames, fixtures), compared, is_updated)[:12],
            "lifespan": lifespan_in(frames, self._caller),
            "endpoint": endpoint_in(frames, self._caller),
            "engines": self._connections.open_engines(),
        }

    def _locals(self, frames: list[Any], fixtures: dict[str, Any]) -> list[Any]:
        """What the caller's functions in the failure had at hand."""
        own = [frame for frame in frames if self._caller.owns(frame.f_code.co_filename)]
        return [*fixtures.values(), *(value for frame in own for value in frame.f_locals.values())]

    def _named(self, frames: list[Any]) -> dict[str, int]:
        """The globals that the failing function of the caller names, by identity."""
        own = [each for each in frames if self._caller.owns(each.f_code.co_filename)]
        names = own[-1].f_code.co_names if own else ()
        return {name: id(own[-1].f_globals[name]) for name in names if name in own[-1].f_globals}

    def _functions(self, frames: list[Any]) -> list[Fact]:
        """The caller's functions in the failure with their source, each once."""
        codes = dict.fromkeys(each.f_code for each in frames if self._caller.owns(each.f_code.co_filename))
        return [self._caller.function(code) for code in codes]

    def _unread(self, frames: list[Any], holders: Holders, lacks: str) -> Fact | None:
        """The innermost ORM object that is detached or lacks a relationship, with what keeps it."""
        for frame in reversed(frames):
            for thing in (frame.f_locals.get("instance"), *self._locals([frame], {})):
                fact = unloaded(thing)
                if fact is not None and fact[lacks]:
                    return {**fact, "holder": holders.find(thing)}
        return None

    def applications(self, error: BaseException, fixtures: dict[str, Any]) -> list[Any]:
        """The applications that the failing code and its fixtures send requests to."""
        frames = [frame for each in chain_of(error) for frame in _frames(each.__traceback__)]
        things = self._locals(frames, fixtures)
        return [app for each in things if (app := _application(each)) is not None]

    def stamped(self, error: BaseException, fixtures: dict[str, Any]) -> Iterator[tuple[type, str, Fact]]:
        """The columns of ORM objects at hand that the database's clock may fill: the class, the attribute, what it is."""
        frames = [frame for each in chain_of(error) for frame in _frames(each.__traceback__)]
        return stamped_by_database(self._locals(frames, fixtures))

    def describe_value(self, value: Any) -> Fact:
        """What kind of thing a fixture gave, and what it carries that matters elsewhere."""
        kind = type(value)
        carried = [value, *list(getattr(value, "__dict__", {}).values())]
        return {
            "type": f"{kind.__module__}.{kind.__qualname__}",
            "object": unloaded(value),
            "application": self._state.application(_application(value)),
            "token": next((each.var.name for each in carried if isinstance(each, contextvars.Token)), None),
        }

    def _place(self, frame: Any) -> str | None:
        """A library's function in the stack of the failure, as `package/module.py:function`."""
        filename = frame.f_code.co_filename.replace("\\", "/")
        if self._caller.owns(frame.f_code.co_filename):
            return None
        _, found, inside = filename.rpartition("/site-packages/")
        return f"{inside}:{frame.f_code.co_name}" if found else None

    def _involved(self, frames: list[Any]) -> list[Fact]:
        """Connections, pools and engines in the stack of the failure."""
        found: dict[int, Fact] = {}
        for frame in frames:
            for thing in _things(frame):
                known = self._connections.of(thing)
                if known is not None:
                    found.setdefault(id(known), dict(known))
        return list(found.values())[:10]

    def _exception(self, error: BaseException) -> Fact:
        sites = []
        last, innermost = None, None
        for traceback in _tracebacks(error.__traceback__):
            code = traceback.tb_frame.f_code
            path = code.co_filename.replace("\\", "/")
            if not path.endswith("_pytest/outcomes.py"):  # pytest.fail() itself says nothing about where
                last = {"path": path, "name": code.co_name}
            if self._caller.owns(code.co_filename):
                site = site_of(code, traceback.tb_lineno, self._caller.path(code.co_filename))
                innermost = code
                sites.append({**site, "text": source_line(code.co_filename, traceback.tb_lineno)})
        return {
            "type": type(error).__name__,
            "module": type(error).__module__,
            "bases": [base.__name__ for base in type(error).__mro__[1:-2]],
            "message": str(error)[:_LONGEST],
            "sqlstate": getattr(error, "sqlstate", None) or getattr(error, "pgcode", None),
            "sites": sites[-12:],
            "raised_in": last,
            "function": self._caller.function(innermost) if innermost is not None else None,
            "object": unloaded(getattr(error, "body", None)),
            "attributes": [str(part) for part in _locations(error)],
        }

    def _running(self, frames: list[Any]) -> Fact | None:
        """The loop under the failing code: the innermost frame that runs one tells."""
        for number, frame in reversed(list(enumerate(frames))):
            runner = frame.f_locals.get("self")
            for loop in (runner, getattr(runner, "_loop", None)):
                if isinstance(loop, asyncio.AbstractEventLoop) and frame.f_code.co_name in (
                    "run",
                    "run_until_complete",
                ):
                    known = self._loops.of(loop)
                    return {**known, **self._runs(frames[:number])} if known and known["maker"] == "unknown" else known
        return None

    def _portal(self, chain: list[BaseException]) -> Fact | None:
        """The loop of a test client's thread, where asyncio itself says that something belongs to another one."""
        for each in chain:
            # Only the frames of a test client's own thread have no loop under them.
            through = any("anyio/from_thread" in frame.f_code.co_filename for frame in _frames(each.__traceback__))
            if through and any(_OTHER_LOOP in str(cause) for cause in chain):
                return self._loops.unseen("portal")
        return None

    def _runs(self, outer: list[Any]) -> Fact:
        """Who ran a loop that was over before anybody could see it run."""
        for frame in reversed(outer):
            plugin = _PLUGIN.search(frame.f_code.co_filename.replace("\\", "/"))
            if plugin is not None:
                return {"maker": plugin[1] or "pytest-asyncio"}
            if self._caller.owns(frame.f_code.co_filename):
                path = self._caller.path(frame.f_code.co_filename)
                site = site_of(frame.f_code, frame.f_lineno, path)
                return {"maker": "asyncio.run", "site": site, "fixture": self._caller.registered(frame.f_code)}
        return {}

    def _foreign(self, frames: list[Any], running: Fact | None, holders: Holders) -> list[Fact]:
        """Objects in the frames that belong to another loop than the one the code ran on."""
        if running is None:
            return []
        found: list[Fact] = []
        seen: set[int] = set()
        for frame in frames:
            for thing in _things(frame):
                if id(thing) in seen:
                    continue
                seen.add(id(thing))
                loop = self._loop_of(thing)
                if loop is None or loop["loop"] == running["loop"]:
                    continue
                kind = type(thing)
                found.append(
                    {
                        "type": f"{kind.__module__}.{kind.__qualname__}",
                        "loop": loop,
                        "known": self._connections.of(thing),
                        "task": self._tasks.of(thing),
                        "holder": holders.find(thing),
                    }
                )
        return found[:20]

    def _owner(self, frames: list[Any], holders: Holders) -> Fact | None:
        """The library's object, held by a global or a fixture, whose method the caller's code called."""
        # In asyncio.run(client.close()) the caller calls it through asyncio.
        direct = [each for each in frames if not _ASYNCIO.search(each.f_code.co_filename.replace("\\", "/"))]
        for outer, frame in itertools.pairwise(direct):
            owner = frame.f_locals.get("self")
            between = self._caller.owns(outer.f_code.co_filename) and not self._caller.owns(frame.f_code.co_filename)
            holder = holders.find(owner) if between and owner is not None else None
            if holder is not None:
                return {**holder, "type": f"{type(owner).__module__}.{type(owner).__qualname__}"}
        return None

    def _loop_of(self, thing: Any) -> Fact | None:
        if isinstance(thing, asyncio.AbstractEventLoop):
            return None
        try:
            loop = getattr(thing, "_loop", None)
        except Exception:  # noqa: BLE001 # a foreign object's __getattr__ may do anything
            return None
        return self._loops.of(loop)


def _has(chain: list[BaseException], name: str) -> bool:
    return any(type(each).__name__ == name for each in chain)


def _called(frames: list[Any], fixtures: dict[str, Any]) -> list[str]:
    """The fixtures whose value a method of the failing code belongs to."""
    owners = {id(owner) for frame in frames if (owner := frame.f_locals.get("self")) is not None}
    return [name for name, value in fixtures.items() if id(value) in owners]


def _application(client: Any) -> Any:
    """The application that a test client sends its requests to."""
    return getattr(client, "app", None) or getattr(getattr(client, "_transport", None), "app", None)


def _locations(error: BaseException) -> list[str]:
    """The attributes that a response could not be made of, as the framework's validation names them."""
    errors = getattr(error, "errors", None)
    if not callable(errors) or not hasattr(error, "body"):
        return []
    return [part for each in errors() for part in each.get("loc", ()) if isinstance(part, str)]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, the members of a group, and what caused each; every one once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen or len(seen) > 20:
            continue
        seen.add(id(each))
        yield each
        waiting += [*getattr(each, "exceptions", ()), getattr(each, "orig", None), each.__cause__, each.__context__]


def _tracebacks(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _frames(traceback: TracebackType | None) -> Iterator[Any]:
    for each in _tracebacks(traceback):
        yield each.tb_frame


def _things(frame: Any) -> Iterator[Any]:
    """The local objects of a frame and the tasks, futures and locks that `self` holds."""
    if frame.f_code.co_name == "<module>" or isinstance(frame, ModuleType):
        return
    for thing in list(frame.f_locals.values()):
        if not isinstance(thing, str | int | float | bytes | type | ModuleType | dict | list | tuple | set):
            yield thing
    owner = frame.f_locals.get("self")
    module = sys.modules.get(type(owner).__module__)
    if module is not None and not getattr(module, "__name__", "").startswith(("_pytest", "pytest", "asyncio")):
        for value in list(getattr(owner, "__dict__", {}).values()):
            if type(value).__module__.startswith("asyncio") or isinstance(value, asyncio.Future):
                yield value
