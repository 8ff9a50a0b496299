"""The statements that this process sends, by SQLAlchemy, asyncpg or psycopg: who sent each, and in which task."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import BORN, Connections
from pytest_savepoint.loops.executions import tell_executions
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.history import History, sqlstate_of
from pytest_savepoint.loops.keys import Keys, asked
from pytest_savepoint.loops.patches import Patches, harmless
from pytest_savepoint.loops.sessions import Sessions
from pytest_savepoint.loops.sql import read_sql
from pytest_savepoint.loops.tasks import Tasks, current_task

__all__ = ["Statements"]

_LINES = 5


class Statements:
    """Tells the history of each statement, as plain values."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        caller: Caller,
        connections: Connections,
        tasks: Tasks,
        sessions: Sessions,
        keys: Keys,
        history: History,
    ) -> None:
        self._recorder = recorder
        self._caller = caller
        self._connections = connections
        self._tasks = tasks
        self._sessions = sessions
        self._keys = keys
        self._history = history

    def install(self) -> None:
        self._stop = tell_executions(before=self._before_execute)

    def uninstall(self) -> None:
        self._stop()

    def watch_sqlalchemy(self, patches: Patches) -> None:
        from sqlalchemy import Connection, Engine

        for name, verb in (("_begin_impl", "BEGIN"), ("_commit_impl", "COMMIT"), ("_rollback_impl", "ROLLBACK")):
            patches.wrap(Connection, name, functools.partial(self._watch_transactions, verb))
        patches.listen(Engine, "handle_error", self._on_error)

    def watch_asyncpg(self, patches: Patches) -> None:
        from asyncpg import Connection

        patches.wrap(Connection, "execute", self._watch_asyncpg_alone)
        for name in ("_execute", "_executemany"):
            patches.wrap(Connection, name, self._watch_asyncpg)

    def watch_psycopg(self, patches: Patches) -> None:
        import psycopg

        for cursor in (psycopg.Cursor, psycopg.AsyncCursor):
            for name in ("execute", "executemany"):
                patches.wrap(cursor, name, self._watch_psycopg)
        # Where psycopg sends BEGIN, COMMIT and ROLLBACK, whoever asks for them.
        for kind in psycopg.Connection.__mro__:
            patches.wrap(kind, "_exec_command", self._watch_commands)

    # -- SQLAlchemy -----------------------------------------------------------------------------------------------
    @harmless
    def _before_execute(self, statement: str, parameters: Any, context: Any) -> None:
        connection = context.root_connection
        number = self._number(connection)
        session = self._sessions.on(connection)
        frame = sys._getframe(2)  # noqa: SLF001
        self._note(number, statement, frame, session=session, parameters=parameters, context=context)

    def _watch_transactions(self, verb: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def turn(connection: Any, *args: Any) -> Any:
            self._transaction(connection, verb)
            return original(connection, *args)

        return turn

    @harmless
    def _transaction(self, connection: Any, verb: str) -> None:
        number = self._number(connection)
        # Who asked for it waits further out: within a flush or an autobegin there is nobody else.
        stack, fixture = self._caller.look_out(sys._getframe(2), _LINES)  # noqa: SLF001
        entry = self._entry(number, verb, stack, fixture, self._sessions.on(connection))
        self._history.add(entry)
        self._history.turn(entry, verb.lower())

    def _number(self, connection: Any) -> int | None:
        fairy = getattr(connection, "_dbapi_connection", None)
        fact = getattr(fairy, "info", {}).get(BORN)
        return fact["connection"] if fact else None

    @harmless
    def _on_error(self, context: Any) -> None:
        error = context.original_exception
        sqlstate = sqlstate_of(error)
        connection = context.connection
        number = self._number(connection) if connection is not None else None
        last = self._history.last_on(number)
        if last is not None:
            last["error"] = sqlstate
        self._recorder.note(
            "database_error",
            connection=number,
            sqlstate=sqlstate,
            type=type(error).__name__,
            site=last["site"] if last else self._caller.site(sys._getframe(1)),  # noqa: SLF001
            stack=last["stack"] if last else [],
            sql=(context.statement or "")[:300],
        )

    # -- asyncpg by itself ----------------------------------------------------------------------------------------
    def _watch_asyncpg_alone(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(connection: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            # With arguments it goes on by way of _execute.
            if not args:
                self._note_asyncpg(connection, query, (), sys._getframe(1))  # noqa: SLF001
            return original(connection, query, *args, **kwargs)

        return execute

    def _watch_asyncpg(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def send(connection: Any, query: Any, given: Any, *args: Any, **kwargs: Any) -> Any:
            self._note_asyncpg(connection, query, given, sys._getframe(1))  # noqa: SLF001
            return original(connection, query, given, *args, **kwargs)

        return send

    @harmless
    def _note_asyncpg(self, connection: Any, query: Any, given: Any, frame: Any) -> None:
        fact = self._connections.of(connection)
        # What an engine sends is seen by its own events, with the engine's lines; a pool's reset is nobody's statement.
        if fact is None or fact["maker"] is not None or query is getattr(connection, "_reset_query", None):
            return
        if isinstance(query, str):
            self._note(fact["connection"], query, frame, parameters=given, own=True)

    # -- psycopg by itself ----------------------------------------------------------------------------------------
    def _watch_psycopg(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            connection = cursor.connection
            if not connection.autocommit and connection.pgconn.transaction_status == 0:
                # psycopg begins by itself, after this.
                self._note_psycopg(connection, "BEGIN", sys._getframe(1))  # noqa: SLF001
            self._note_psycopg(connection, query, sys._getframe(1), given=args[0] if args else ())  # noqa: SLF001
            return original(cursor, query, *args, **kwargs)

        return execute

    def _watch_commands(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _exec_command(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
            self._note_psycopg(connection, command, sys._getframe(1))  # noqa: SLF001
            return original(connection, command, *args, **kwargs)

        return _exec_command

    @harmless
    def _note_psycopg(self, connection: Any, query: Any, frame: Any, *, given: Any = ()) -> None:
        fact = self._connections.of(connection)
        if fact is None:
            fact = self._connections.born(connection, frame)
        sql = query.decode() if isinstance(query, bytes) else query if isinstance(query, str) else ""
        begun = sql.startswith("BEGIN") and self._history.is_open(fact["connection"])
        if fact["maker"] is None and not begun:
            self._note(fact["connection"], sql, frame, parameters=given, own=True)

    # -- both -----------------------------------------------------------------------------------------------------
    def _note(
        self,
        connection: int | None,
        sql: str,
        frame: Any,
        *,
        session: int | None = None,
        parameters: Any = (),
        context: Any = None,
        own: bool = False,
    ) -> None:
        read = read_sql(sql)
        stack, fixture = self._caller.look(frame, _LINES)
        entry = self._entry(connection, sql, stack, fixture, session)
        entry["gives"] = [column for column, _ in read.gives]
        entry["asked"] = asked(read, parameters) if read.asks else {}
        entry["refreshes"] = context is not None and _refreshes(context)
        entry["own"] = own
        self._history.add(entry)
        self._keys.note(entry, read, parameters, context)
        self._history.follow(entry, read)
        if read.ends_backends:
            self._recorder.note("ends_backends", sql=sql[:300], site=entry["site"], fixture=entry["fixture"])

    def _entry(
        self, connection: int | None, sql: str, stack: list[Fact], fixture: Fact | None, session: int | None
    ) -> Fact:
        task = current_task()
        made = self._tasks.made(task)
        return {
            "connection": connection,
            "session": session,
            "sql": sql[:600],
            "site": stack[0] if stack else (made or {}).get("site"),
            "stack": stack,
            "fixture": fixture,
            "task": made["task"]
            if made
            else f"thread {threading.get_ident()}"
            if task is None
            else f"other {id(task)}",
            "made": made,
            "test": self._recorder.test,
            "when": self._recorder.when,
            "time": time.monotonic(),
            "error": None,
            "refreshes": False,
            "own": False,
            "gives": [],
            "asked": {},
        }


def _refreshes(context: Any) -> bool:
    """Whether the ORM overwrites the objects that it has with what this statement gives."""
    options = getattr(context, "execution_options", {}).get("_sa_orm_load_options")
    return bool(getattr(options, "_populate_existing", False) or getattr(options, "_refresh_state", None))
