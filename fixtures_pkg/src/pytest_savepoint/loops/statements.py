"""The last statements of this process: who sent each, on which connection, in which task; and what was committed."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import asyncpg
from sqlalchemy import Engine, event

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import BORN, Connections
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.keys import Keys, asked
from pytest_savepoint.loops.patches import Patches, harmless
from pytest_savepoint.loops.sessions import Sessions
from pytest_savepoint.loops.sql import read_sql, takes_locks, tells_the_time
from pytest_savepoint.loops.tasks import Tasks, current_task

__all__ = ["Statements"]

_DEADLOCK = "40P01"
_PROCESS = re.compile(r"\b(\d{2,})\b")
_KEPT = 400
_SENT = 20
_LINES = 5


class Statements:
    """Keeps a window of the latest statements, as plain values."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        caller: Caller,
        connections: Connections,
        tasks: Tasks,
        sessions: Sessions,
        keys: Keys,
    ) -> None:
        self._recorder = recorder
        self._caller = caller
        self._connections = connections
        self._tasks = tasks
        self._sessions = sessions
        self._keys = keys
        self._window: deque[Fact] = deque(maxlen=_KEPT)
        self._unfinished: dict[int, list[Fact]] = {}  # writes of open transactions, by connection
        self._committed: dict[str, deque[Fact]] = {}  # by table
        self._shared: set[tuple[str | None, str]] = set()  # database and table, once noted
        self._begun: dict[int, Fact] = {}  # what began the transactions that are open, by connection
        self._definitions: deque[Fact] = deque(maxlen=20)
        """The latest statements that changed a schema."""
        self._dated: set[str] = set()  # tables with a column that the server's clock fills
        self._numbered: dict[str, dict[str, None]] = {}  # the tests that inserted into a table, committed or not
        self._listeners: list[tuple[str, Callable[..., Any]]] = []
        self._watches_psycopg = False
        connections.when_gone = self._forget

    def install(self, patches: Patches) -> None:
        for name, listener in (
            ("before_cursor_execute", self._before_execute),
            ("begin", lambda connection: self._transaction(connection, "BEGIN")),
            ("commit", lambda connection: self._transaction(connection, "COMMIT")),
            ("rollback", lambda connection: self._transaction(connection, "ROLLBACK")),
            ("handle_error", self._on_error),
        ):
            event.listen(Engine, name, listener)
            self._listeners.append((name, listener))
        patches.wrap(asyncpg.connection.Connection, "execute", self._watch_asyncpg_alone)
        for name in ("_execute", "_executemany"):
            patches.wrap(asyncpg.connection.Connection, name, self._watch_asyncpg)

    def install_late(self, patches: Patches) -> None:
        """Watch psycopg's own connections from now on, if the suite has imported it."""
        psycopg = sys.modules.get("psycopg")
        if self._watches_psycopg or psycopg is None or not hasattr(psycopg, "AsyncCursor"):
            return
        self._watches_psycopg = True
        for cursor in (psycopg.Cursor, psycopg.AsyncCursor):
            for name in ("execute", "executemany"):
                patches.wrap(cursor, name, self._watch_psycopg)
        # Where psycopg sends BEGIN, COMMIT and ROLLBACK, whoever asks for them.
        patches.wrap(sys.modules["psycopg._connection_base"].BaseConnection, "_exec_command", self._watch_commands)

    def uninstall(self) -> None:
        while self._listeners:
            name, listener = self._listeners.pop()
            event.remove(Engine, name, listener)

    def _forget(self, connection: int) -> None:
        """What was open on a connection that is gone is rolled back."""
        self._begun.pop(connection, None)
        self._unfinished.pop(connection, None)

    def of_test(self, test: str) -> list[Fact]:
        """The latest statements sent while a test was set up, ran and was torn down."""
        return [dict(each) for each in self._window if each["test"] == test][-80:]

    def committed(self, tables: set[str], test: str) -> list[Fact]:
        """What other tests have written to these tables and committed, latest last."""
        return [
            dict(each) for table in sorted(tables) for each in self._committed.get(table, ()) if each["test"] != test
        ]

    def all_committed(self) -> list[Fact]:
        """What was written and committed so far, table by table."""
        return [dict(each) for writes in self._committed.values() for each in writes]

    def dated(self, test: str) -> str | None:
        """A statement of a test that has to do with the server's clock."""
        for each in self._window:
            words = set(each["sql"].lower().replace('"', " ").split())
            if each["test"] == test and each["when"] == "call" and (tells_the_time(each["sql"]) or words & self._dated):
                return str(each["sql"])
        return None

    def definitions(self) -> list[Fact]:
        """The latest statements that changed a schema, in any test."""
        return [dict(each) for each in self._definitions]

    def deadlocked(self, errors: Iterable[BaseException]) -> list[Fact]:
        """The statements that waited for each other, the refused one first, as the server names their processes.

        :param errors: the exceptions of a failure.
        """
        for error in errors:
            detail = getattr(error, "detail", None) or getattr(getattr(error, "diag", None), "message_detail", None)
            if _sqlstate(error) == _DEADLOCK and isinstance(detail, str):
                numbers = dict.fromkeys(self._connections.behind(int(each)) for each in _PROCESS.findall(detail))
                found = (self._last_lock(each) for each in numbers if each is not None)
                return [dict(each) for each in found if each is not None]
        return []

    def _last_lock(self, connection: int) -> Fact | None:
        return next(
            (e for e in reversed(self._window) if e["connection"] == connection and takes_locks(e["sql"])), None
        )

    def open_transactions(self) -> list[Fact]:
        """What began the transactions that are open now."""
        # A copy first: while these are copied, the collector may end a connection, which is forgotten then.
        return [dict(each) for each in list(self._begun.values())] if self._begun else []

    def inserted_before(self, tables: set[str], test: str) -> dict[str, list[str]]:
        """The other tests that inserted into these tables, whether their rows are still there or not."""
        return {
            table: others
            for table in sorted(tables)
            if (others := [each for each in self._numbered.get(table, ()) if each != test][-5:])
        }

    # -- SQLAlchemy -----------------------------------------------------------------------------------------------
    @harmless
    def _before_execute(
        self, connection: Any, _cursor: Any, statement: str, parameters: Any, context: Any, *_rest: Any
    ) -> None:
        number = self._number(connection)
        session = self._sessions.on(connection)
        frame = sys._getframe(1)  # noqa: SLF001
        self._note(number, statement, frame, session=session, parameters=parameters, context=context)

    @harmless
    def _transaction(self, connection: Any, verb: str) -> None:
        number = self._number(connection)
        # Who asked for it waits further out: within a flush or an autobegin there is nobody else.
        stack, fixture = self._caller.look_out(sys._getframe(1), _LINES)  # noqa: SLF001
        entry = self._entry(number, verb, stack, fixture, self._sessions.on(connection))
        self._window.append(entry)
        self._follow_transaction(number or 0, entry, verb.lower())

    def _number(self, connection: Any) -> int | None:
        fairy = getattr(connection, "_dbapi_connection", None)
        fact = getattr(fairy, "info", {}).get(BORN)
        return fact["connection"] if fact else None

    @harmless
    def _on_error(self, context: Any) -> None:
        error = context.original_exception
        sqlstate = _sqlstate(error)
        connection = context.connection
        number = self._number(connection) if connection is not None else None
        last = next((each for each in reversed(self._window) if each["connection"] == number), None)
        if last is not None:
            last["error"] = sqlstate
        self._recorder.note(
            "database_error",
            connection=number,
            sqlstate=sqlstate,
            type=type(error).__name__,
            site=last["site"] if last else self._caller.site(sys._getframe(1)),  # noqa: SLF001
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
        # What an engine sends is seen by its own events, with the engine's lines.
        if fact is not None and fact["maker"] is None and isinstance(query, str):
            self._note(fact["connection"], query, frame, parameters=given)

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
        begun = sql.startswith("BEGIN") and fact["connection"] in self._begun
        if fact["maker"] is None and not begun:
            self._note(fact["connection"], sql, frame, parameters=given)

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
    ) -> None:
        read = read_sql(sql)
        stack, fixture = self._caller.look(frame, _LINES)
        entry = self._entry(connection, sql, stack, fixture, session)
        entry["gives"] = [column for column, _ in read.gives]
        entry["asked"] = asked(read, parameters) if read.asks else {}
        entry["refreshes"] = context is not None and _refreshes(context)
        self._window.append(entry)
        self._keys.note(entry, read, parameters, context)
        if read.ends_or_begins:
            self._follow_transaction(connection or 0, entry, read.ends_or_begins)
        elif read.writes is not None:
            self._write(connection or 0, entry, *read.writes)
        begun = self._begun.get(connection or 0)
        if begun is not None and begun is not entry and len(begun.setdefault("sent", [])) < _SENT:
            begun["sent"].append(sql[:200])
        if read.defines:
            self._definitions.append(entry)
        if read.dated:
            self._dated.update(read.dated)
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
            "gives": [],
            "asked": {},
        }

    def _follow_transaction(self, connection: int, entry: Fact, verb: str) -> None:
        """Keep in mind which writes became visible to others."""
        pending = self._unfinished.pop(connection, [])
        self._begun.pop(connection, None)
        if verb == "commit":
            for each in pending:
                self._commit(each)
        elif verb != "rollback":
            self._unfinished[connection] = []
            self._begun[connection] = entry

    def _write(self, connection: int, entry: Fact, verb: str, table: str) -> None:
        write: Fact = {
            "verb": verb,
            "table": table,
            **{name: entry[name] for name in ("test", "when", "site", "fixture", "stack", "time")},
            "connection": connection,
        }
        if verb == "insert":
            self._numbered.setdefault(table, {})[write["test"]] = None
        if connection in self._unfinished:
            self._unfinished[connection].append(write)
        else:
            self._commit(write)

    def _commit(self, write: Fact) -> None:
        self._committed.setdefault(write["table"], deque(maxlen=30)).append(write)
        born = self._connections.numbered(write["connection"])
        wide = write["fixture"] is not None and write["fixture"]["scope"] != "function"
        if born is None or wide or write["when"] == "" or (born["database"], write["table"]) in self._shared:
            return
        # Once per table: enough to see that two workers write to the same one.
        self._shared.add((born["database"], write["table"]))
        maker = born["maker"] or born
        self._recorder.note("written", database=born["database"], table=write["table"], engine=maker["site"])


def _refreshes(context: Any) -> bool:
    """Whether the ORM overwrites the objects that it has with what this statement gives."""
    options = getattr(context, "execution_options", {}).get("_sa_orm_load_options")
    return bool(getattr(options, "_populate_existing", False) or getattr(options, "_refresh_state", None))


def _sqlstate(error: Any) -> str | None:
    for each in (error, getattr(error, "__cause__", None), getattr(error, "orig", None)):
        state = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(state, str):
            return state
    return None
