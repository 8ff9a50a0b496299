"""Every pool's connections between checkout and checkin: who holds one, and who asks for one when none is free."""

from __future__ import annotations

import asyncio
import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import BORN, Connections
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.patches import Patches, harmless
from pytest_savepoint.loops.tasks import Tasks, current_task

__all__ = ["Checkouts"]

_LINES = 8


class _Checkout(NamedTuple):
    """One connection between checkout and checkin."""

    pool: int
    fact: Fact
    task: Callable[[], Any] | None


class _Waiting(NamedTuple):
    """Somebody who asks a pool for a connection when none is free, or waits for all to come back."""

    pool: int
    size: int
    engine: Fact | None
    stack: list[Fact]
    task: Callable[[], Any] | None
    closing: bool


class Checkouts:
    """Watches SQLAlchemy's and asyncpg's pools; records a connection lent to another loop than its own, and a pool run dry."""

    def __init__(
        self, recorder: Recorder, caller: Caller, loops: Loops, connections: Connections, tasks: Tasks
    ) -> None:
        self._recorder = recorder
        self._caller = caller
        self._loops = loops
        self._connections = connections
        self._tasks = tasks
        self._held: dict[int, _Checkout] = {}  # by id of the pool's record, from checkout to checkin
        self._waiting: dict[int, _Waiting] = {}

    def watch_sqlalchemy(self, patches: Patches) -> None:
        """Listen on the classes, so that pools made at import, before or later, are seen too."""
        from sqlalchemy.exc import TimeoutError as PoolTimeoutError
        from sqlalchemy.pool import Pool, QueuePool

        for name, listener in (
            ("checkout", self._checked_out),
            ("checkin", self._given_back),
            ("close", self._given_back),
            ("detach", self._given_back),
        ):
            patches.listen(Pool, name, listener, first=True)
        patches.wrap(QueuePool, "_do_get", functools.partial(self._watch_exhaustion, PoolTimeoutError))

    def watch_asyncpg(self, patches: Patches) -> None:
        from asyncpg.pool import Pool

        patches.wrap(Pool, "__init__", self._watch_asyncpg_pools)
        patches.wrap(Pool, "_acquire", self._watch_acquire)
        patches.wrap(Pool, "release", self._watch_release)
        patches.wrap(Pool, "close", self._watch_close)

    def note_waiting(self) -> None:
        """Record who waits for a connection of a pool right now; a test that hangs is ended while it waits."""
        for waiting in list(self._waiting.values()):
            self._exhausted(waiting)

    # -- SQLAlchemy -----------------------------------------------------------------------------------------------
    @harmless
    def _checked_out(self, _adapter: Any, record: Any, fairy: Any) -> None:
        born: Fact | None = record.info.get(BORN)
        frame = sys._getframe(1)  # noqa: SLF001 # who takes it
        checkout = self._held[id(record)] = self._checkout(fairy._pool, frame, born)  # noqa: SLF001 # not in the event
        if born is None or born["loop"] is None:
            return
        here = self._loops.running(frame)
        if here is not None and born["loop"]["loop"] != here["loop"]:
            resource = self._connections.now(born)
            self._recorder.note("crossed", resource=resource, loop=here, sites=checkout.fact["sites"])

    @harmless
    def _given_back(self, _adapter: Any, record: Any) -> None:
        self._held.pop(id(record), None)

    def _watch_exhaustion(self, timed_out: type[Exception], original: Callable[..., Any]) -> Callable[..., Any]:
        def _do_get(pool: Any) -> Any:
            waiting = self._wait(pool, sys._getframe(1)) if _is_empty(pool) else None  # noqa: SLF001 # who waits
            try:
                return original(pool)
            except (timed_out, asyncio.CancelledError) as error:
                self._exhausted(waiting, cancelled=isinstance(error, asyncio.CancelledError))
                raise
            finally:
                self._waiting.pop(id(waiting), None)

        return _do_get

    # -- asyncpg by itself ----------------------------------------------------------------------------------------
    def _watch_asyncpg_pools(self, original: Callable[..., None]) -> Callable[..., None]:
        def __init__(pool: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 # stands in for it
            original(pool, *args, **kwargs)
            # What was held of the pool that had this number before.
            self._held = {key: each for key, each in self._held.items() if each.pool != id(pool)}

        return __init__

    def _watch_acquire(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _acquire(pool: Any, timeout: float | None) -> Any:
            return self._acquire(pool, original(pool, timeout), sys._getframe(1))  # noqa: SLF001

        return _acquire

    async def _acquire(self, pool: Any, acquiring: Any, frame: Any) -> Any:
        waiting = None if pool.get_idle_size() or pool.get_size() < pool.get_max_size() else self._wait(pool, frame)
        try:
            proxy = await acquiring
        except (TimeoutError, asyncio.TimeoutError, asyncio.CancelledError) as error:
            self._exhausted(waiting, cancelled=isinstance(error, asyncio.CancelledError))
            raise
        finally:
            self._waiting.pop(id(waiting), None)
        self._lent(pool, proxy, frame)
        return proxy

    @harmless
    def _lent(self, pool: Any, proxy: Any, frame: Any) -> None:
        known = self._connections.of(proxy._con)  # noqa: SLF001 # the connection behind asyncpg's proxy
        self._held[id(proxy._holder)] = self._checkout(pool, frame, known)  # noqa: SLF001

    def _watch_release(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def release(pool: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
            self._held.pop(id(getattr(connection, "_holder", None)), None)
            return original(pool, connection, *args, **kwargs)

        return release

    def _watch_close(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def close(pool: Any) -> None:
            """Close the pool, which waits until all its connections are back."""
            waiting = self._wait(pool, sys._getframe(1), closing=True)  # noqa: SLF001 # who closes it
            try:
                await original(pool)
            except asyncio.CancelledError:
                self._exhausted(waiting, cancelled=True)
                raise
            finally:
                self._waiting.pop(id(waiting), None)

        return close

    # -- both -----------------------------------------------------------------------------------------------------
    def _checkout(self, pool: Any, frame: Any, born: Fact | None) -> _Checkout:
        task = current_task()
        sites, fixture = self._caller.look_out(frame, _LINES)
        fact = {
            "sites": sites,
            "fixture": fixture,
            "test": self._recorder.test,
            "when": self._recorder.when,
            "connection": born and born["connection"],
        }
        return _Checkout(pool=id(pool), fact=fact, task=weakref.ref(task) if task is not None else None)

    @harmless
    def _wait(self, pool: Any, frame: Any, *, closing: bool = False) -> _Waiting:
        task = current_task()
        waiting = _Waiting(
            pool=id(pool),
            size=pool.size() if hasattr(pool, "size") else pool.get_max_size(),
            engine=self._connections.of(getattr(pool, "_dialect", pool)),
            stack=self._caller.stack(frame),
            task=weakref.ref(task) if task is not None else None,
            closing=closing,
        )
        self._waiting[id(waiting)] = waiting
        return waiting

    @harmless
    def _exhausted(self, waiting: _Waiting | None, *, cancelled: bool = False) -> None:
        if waiting is None:
            return
        asking = waiting.task() if waiting.task is not None else None
        holders = []
        for checkout in list(self._held.values()):
            if checkout.pool == waiting.pool:
                task = checkout.task() if checkout.task is not None else None
                holders.append({**checkout.fact, "task": self._tasks.of(task), "own": task is asking})
        self._recorder.note(
            "pool_exhausted",
            engine=waiting.engine,
            size=waiting.size,
            holders=holders[:20],
            waiting=waiting.stack,
            cancelled=cancelled,
            closing=waiting.closing,
        )


def _is_empty(pool: Any) -> bool:
    return bool(pool.checkedout() >= pool.size() + max(pool._max_overflow, 0) and pool._max_overflow >= 0)  # noqa: SLF001
