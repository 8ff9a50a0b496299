"""One watch over loops, connections and tasks of this process, put on at start and taken off at the end."""

from __future__ import annotations

import asyncio
import inspect
import re
import weakref
from pathlib import Path
from typing import Any

from pytest_savepoint.arrival import when_imported
from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.blocking import Blocking
from pytest_savepoint.loops.caches import Caches
from pytest_savepoint.loops.checkouts import Checkouts
from pytest_savepoint.loops.connections import Connections
from pytest_savepoint.loops.deadlines import Deadlines
from pytest_savepoint.loops.failures import Failures
from pytest_savepoint.loops.frames import Caller, code_of
from pytest_savepoint.loops.growth import Growth
from pytest_savepoint.loops.history import History
from pytest_savepoint.loops.keys import Keys
from pytest_savepoint.loops.late_writes import LateWrites
from pytest_savepoint.loops.left import Left
from pytest_savepoint.loops.local_time import LocalTime
from pytest_savepoint.loops.lock_waits import LockWaits
from pytest_savepoint.loops.logs import Logs
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.patches import Patches, harmless, harmlessly
from pytest_savepoint.loops.reach import Reach, reached, setters
from pytest_savepoint.loops.sessions import Sessions
from pytest_savepoint.loops.state import State
from pytest_savepoint.loops.statements import Statements
from pytest_savepoint.loops.tasks import Tasks
from pytest_savepoint.loops.threads import Threads
from pytest_savepoint.loops.unawaited import Unawaited

__all__ = ["Watch"]


class Watch:
    """Records who makes and uses what the loops of this process carry.

    :param root: pytest's root folder; paths in facts are relative to it.
    """

    def __init__(self, recorder: Recorder, root: Path) -> None:
        self.recorder = recorder
        self.caller = Caller(root)
        self.loops = Loops(self.caller)
        self.tasks = Tasks(recorder, self.caller, self.loops)
        self.connections = Connections(recorder, self.caller, self.loops)
        self.checkouts = Checkouts(recorder, self.caller, self.loops, self.connections, self.tasks)
        self.sessions = Sessions(recorder, self.caller, self.tasks)
        self.keys = Keys(self.caller)
        self.history = History(recorder, self.connections)
        self.statements = Statements(
            recorder=recorder,
            caller=self.caller,
            connections=self.connections,
            tasks=self.tasks,
            sessions=self.sessions,
            keys=self.keys,
            history=self.history,
        )
        self.late_writes = LateWrites(recorder, self.caller, self.history)
        self.lock_waits = LockWaits(recorder, self.connections, self.history)
        self.local_time = LocalTime(recorder, self.caller, self.connections, self.history)
        self.state = State(recorder, self.caller, self._test_with_setters)
        self.logs = Logs(recorder, self.caller)
        self.deadlines = Deadlines(recorder, self.caller)
        self.caches = Caches(recorder, self.caller)
        self.left = Left(recorder, self.caller, self._test)
        self.failures = Failures(
            caller=self.caller,
            loops=self.loops,
            connections=self.connections,
            tasks=self.tasks,
            sessions=self.sessions,
            state=self.state,
        )
        self.threads = Threads(recorder, self.caller)
        self.blocking = Blocking(recorder, self.caller)
        self.unawaited = Unawaited(recorder, self.caller)
        self.growth = Growth(recorder, self.tasks.count, self.connections.count)
        self._fixtures: weakref.WeakKeyDictionary[Any, Fact | None] = weakref.WeakKeyDictionary()
        self._setters: weakref.WeakKeyDictionary[Any, list[Fact]] = weakref.WeakKeyDictionary()
        self._patches = Patches()
        self._function: Any = None
        self._at_beginnings = self.state.begin, self.tasks.begin, self.logs.begin, self.left.begin, self.caches.look
        self._at_ends = self.growth.look, self.state.end, self.logs.end, self.late_writes.end, self.left.end

    def start(self) -> None:
        self.loops.install(self._patches)
        self.tasks.install(self._patches)
        self.statements.install()
        self.logs.install(self._patches)
        self.left.install(self._patches)
        self.deadlines.install(self._patches)
        self.threads.install(self._patches)
        self.blocking.install(self._patches)
        self.lock_waits.install()
        self.growth.start()
        self._libraries = [
            when_imported("sqlalchemy", self._watch_sqlalchemy),
            when_imported("sqlalchemy.orm", self._watch_orm),
            when_imported("asyncpg", self._watch_asyncpg),
            when_imported("psycopg", self._watch_psycopg),
        ]

    @harmless
    def _watch_sqlalchemy(self) -> None:
        self.connections.watch_sqlalchemy(self._patches)
        self.checkouts.watch_sqlalchemy(self._patches)
        self.statements.watch_sqlalchemy(self._patches)

    @harmless
    def _watch_orm(self) -> None:
        self.sessions.watch_sqlalchemy(self._patches)

    @harmless
    def _watch_asyncpg(self) -> None:
        self.connections.watch_asyncpg(self._patches)
        self.checkouts.watch_asyncpg(self._patches)
        self.statements.watch_asyncpg(self._patches)

    @harmless
    def _watch_psycopg(self) -> None:
        self.statements.watch_psycopg(self._patches)

    def begin_test(self, function: Any) -> None:
        """A test starts: its state is compared with this.

        :param function: the test's own, if it has one.
        """
        self._function = function
        self.caller.test = code_of(function)
        harmlessly(self._at_beginnings)

    def called(self, *, passed: bool) -> None:
        """The test's own function is over, or its set-up has failed."""
        harmlessly((self.caches.look, self.local_time.look) if passed else (self.caches.look,))

    def end_test(self) -> None:
        """The test is over, with its teardown."""
        harmlessly(self._at_ends)

    def _test(self) -> Fact | None:
        return self.function(self._function)

    def _test_with_setters(self) -> Fact | None:
        return self.with_setters(self._test(), self._function)

    def stop(self) -> None:
        for forget in self._libraries:
            forget()
        self.growth.stop()
        self.unawaited.stop()
        self.blocking.uninstall()
        self.logs.uninstall()
        self.lock_waits.uninstall()
        self.statements.uninstall()
        self._patches.restore()

    @harmless
    def fixture(self, name: str, scope: str, function: Any) -> Fact | None:
        """Remember a fixture's function, so that what happens inside it carries its name."""
        try:
            return self._fixtures[function]
        except KeyError:
            fact = self._fixtures[function] = self._describe(name, scope, function)
            return fact

    def _describe(self, name: str, scope: str, function: Any) -> Fact | None:
        code = code_of(function)
        if code is None or not self.caller.owns(code.co_filename):
            return None
        known = self.caller.registered(code)
        if known is not None:
            return known
        fact: Fact = {
            "name": name,
            "scope": scope,
            "loop_scope": getattr(function, "_loop_scope", None),
            "path": self.caller.path(code.co_filename),
            "line": code.co_firstlineno,
            "async": bool(code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)),
            "handled": getattr(function, "_force_asyncio_fixture", False),
            "requests": list(inspect.signature(inspect.unwrap(function)).parameters),
        }
        self.caller.register_fixture(code, fact)
        return fact

    @harmless
    def with_source(self, fixture: Fact | None, function: Any) -> Fact | None:
        """The same fact with the function's source, for a failure."""
        code = code_of(function)
        return None if fixture is None or code is None else {**self.caller.function(code), **fixture}

    @harmless
    def function(self, function: Any) -> Fact | None:
        """A test's or fixture's function as a fact, with its source."""
        code = code_of(function)
        return None if code is None else self.caller.function(code)

    @harmless
    def with_setters(self, fact: Fact | None, function: Any) -> Fact | None:
        """The same fact with the functions that a test or fixture calls and that set what the process keeps."""
        if fact is None:
            return None
        # A test that leaves something behind often does so with each of its parameters.
        if function not in self._setters:
            self._setters[function] = setters(function, self.caller)
        return {**fact, "setters": self._setters[function]}

    @harmless
    def line_in(self, thing: Any, pattern: re.Pattern[str]) -> Fact | None:
        """The first line that matches in the source of a function, class or module of the caller."""
        lines, first = inspect.getsourcelines(thing)
        filename = inspect.getsourcefile(thing)
        for number, text in enumerate(lines, max(first, 1)):
            if filename is not None and pattern.search(text):
                return {"path": self.caller.path(filename), "line": number, "name": thing.__name__}
        return None

    @harmless
    def reached(self, things: list[Any]) -> Reach | None:
        """What a test's function and fixtures can get at."""
        return reached(things, self.caller)

    @harmless
    def adopt_runner(self, value: Any, scope: str) -> None:
        """Remember the loop of a plugin's runner; older plugins hand out the loop itself."""
        loop = value.get_loop() if hasattr(value, "get_loop") else value
        if isinstance(loop, asyncio.AbstractEventLoop):
            self.loops.adopt(loop, "pytest-asyncio", scope)
