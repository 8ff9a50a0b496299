"""The latest statements of this process, which transactions are open, and what was committed."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Container, Iterable
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import Connections
from pytest_savepoint.loops.sql import Sql, takes_locks, tells_the_time

__all__ = ["History", "sqlstate_of"]

_DEADLOCK = "40P01"
_PROCESS = re.compile(r"\b(\d{2,})\b")
_KEPT = 400
_SENT = 20


class History:
    """Keeps a window of statements, as plain values, and the writes that others can see."""

    def __init__(self, recorder: Recorder, connections: Connections) -> None:
        self._recorder = recorder
        self._connections = connections
        self._window: deque[Fact] = deque(maxlen=_KEPT)
        self._unfinished: dict[int, list[Fact]] = {}  # writes of open transactions, by connection
        self._committed: dict[str, deque[Fact]] = {}  # by table
        self._shared: set[tuple[str | None, str]] = set()  # database and table, once noted
        self._begun: dict[int, Fact] = {}  # what began the transactions that are open, by connection
        self._definitions: deque[Fact] = deque(maxlen=20)  # the latest statements that changed a schema
        self._dated: set[str] = set()  # tables with a column that the server's clock fills
        self._numbered: dict[str, dict[str, None]] = {}  # the tests that inserted into a table, committed or not
        self.when_late: Callable[[Fact, str], None] = lambda _statement, _table: None
        """Called with a write, and its table, that a task of one test sends while another runs."""
        connections.when_gone = self._forget

    # -- what happens ---------------------------------------------------------------------------------------------
    def add(self, entry: Fact) -> None:
        """A statement is sent."""
        self._window.append(entry)

    def follow(self, entry: Fact, read: Sql) -> None:
        """Keep in mind what a statement does beyond its own transaction."""
        if read.ends_or_begins:
            self.turn(entry, read.ends_or_begins)
            return
        if read.writes is not None:
            self._write(entry, *read.writes)
        begun = self._begun.get(entry["connection"] or 0)
        if begun is not None and len(begun.setdefault("sent", [])) < _SENT:
            begun["sent"].append(entry["sql"][:200])
        if read.defines:
            self._definitions.append(entry)
        if read.dated:
            self._dated.update(read.dated)

    def turn(self, entry: Fact, verb: str) -> None:
        """A statement began or ended a transaction, and with it what was written became visible to others, or is gone.

        :param verb: begin, start transaction, commit or rollback.
        """
        connection = entry["connection"] or 0
        pending = self._unfinished.pop(connection, [])
        begun = self._begun.pop(connection, None)
        if verb == "commit":
            outer = begun["fixture"] if begun is not None and entry["when"] == "call" else None
            for each in pending:
                self._commit({**each, "begun_by": outer and outer["name"], "ended_at": entry["site"]})
        elif verb != "rollback":
            self._unfinished[connection] = []
            self._begun[connection] = entry

    def _write(self, entry: Fact, verb: str, table: str) -> None:
        connection = entry["connection"] or 0
        write: Fact = {
            "verb": verb,
            "table": table,
            **{name: entry[name] for name in ("test", "when", "site", "fixture", "stack", "time", "sql")},
            "connection": connection,
            "begun_by": None,
        }
        made = entry["made"]
        if made is not None and made["test"] != entry["test"] and made["when"] == "call" and made["fixture"] is None:
            self.when_late(entry, table)
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

    def _forget(self, connection: int) -> None:
        """What was open on a connection that is gone is rolled back."""
        self._begun.pop(connection, None)
        self._unfinished.pop(connection, None)

    # -- what is asked --------------------------------------------------------------------------------------------
    def last_on(self, connection: int | None) -> Fact | None:
        """The latest statement on a connection."""
        return next((each for each in reversed(self._window) if each["connection"] == connection), None)

    def latest(self) -> Fact | None:
        """The latest statement of all."""
        return self._window[-1] if self._window else None

    def has_open_transactions(self) -> bool:
        """Whether a transaction is open anywhere."""
        return bool(self._begun)

    def is_open(self, connection: int) -> bool:
        """Whether a transaction is open on a connection."""
        return connection in self._begun

    def of_test(self, test: str) -> list[Fact]:
        """The latest statements sent while a test was set up, ran and was torn down."""
        return [dict(each) for each in self._window if each["test"] == test][-80:]

    def sent_past_engines(self, test: str, phases: Container[str]) -> bool:
        """Whether a test has sent something in these phases on a connection that it made with the driver itself."""
        return any(each["own"] for each in self._window if each["test"] == test and each["when"] in phases)

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
            if sqlstate_of(error) == _DEADLOCK and isinstance(detail, str):
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


def sqlstate_of(error: Any) -> str | None:
    """PostgreSQL's code of a driver's error, or of SQLAlchemy's around one."""
    for each in (error, getattr(error, "__cause__", None), getattr(error, "orig", None)):
        state = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(state, str):
            return state
    return None
