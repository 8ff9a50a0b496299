"""Statements that wait for a lock, and the ones that hold it, as the server tells while it happens."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from pytest_savepoint.background import Background
from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.connections import Connections
from pytest_savepoint.loops.history import History
from pytest_savepoint.loops.patches import harmless

__all__ = ["LockWaits"]

_EVERY = 0.4
_PATIENCE = 1.0
_WAITING = """
select a.pid as waiting, a.query, extract(epoch from clock_timestamp() - a.query_start)::float as seconds,
       b.pid as holding, b.query as held_by, b.state,
       coalesce(l.relation::regclass::text, l.locktype) as lock, l.mode
from pg_stat_activity a
cross join lateral unnest(pg_blocking_pids(a.pid)) as blocking (pid)
join pg_stat_activity b on b.pid = blocking.pid
left join pg_locks l on l.pid = a.pid and not l.granted
where a.pid = any ($1) and a.wait_event_type = 'Lock'
"""


class LockWaits:
    """A thread that asks the server only when a test with an open transaction has sent nothing for a while."""

    def __init__(self, recorder: Recorder, connections: Connections, history: History) -> None:
        self._recorder = recorder
        self._connections = connections
        self._history = history
        self._noted: set[tuple[str, int, int]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="savepoint-lock-waits", daemon=True)

    def install(self) -> None:
        self._thread.start()

    def uninstall(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        asked_of, due = None, _EVERY
        while not self._stop.wait(_EVERY):
            latest = self._history.latest()
            if latest is None or latest["test"] != self._recorder.test or not self._history.has_open_transactions():
                continue
            if asked_of is not latest:
                asked_of, due = latest, _EVERY
            if time.monotonic() - latest["time"] >= due:
                due *= 2  # a test that waits for something else is asked about less and less
                self._ask()

    @harmless
    def _ask(self) -> None:
        import asyncpg

        test = self._recorder.test
        with Background() as background:
            for arguments, processes in self._connections.servers():
                # A server that has no place for one more, or does not answer, has the suite's own needs first.
                with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
                    for wait in background.call(_waits(arguments, processes)):
                        self._note(test, wait)

    def _note(self, test: str, wait: Any) -> None:
        key = (test, wait["waiting"], wait["holding"])
        if test != self._recorder.test or key in self._noted:
            return
        self._noted.add(key)
        self._recorder.note(
            "lock_wait",
            waiting=self._statement(wait["waiting"], wait["query"]),
            holding={**self._statement(wait["holding"], wait["held_by"]), "state": wait["state"]},
            lock=wait["lock"],
            mode=wait["mode"],
            seconds=round(wait["seconds"], 1),
        )

    def _statement(self, process: int, sql: str) -> Fact:
        """What a process of the server did last, with its line where it is a connection of this process."""
        number = self._connections.behind(process)
        last = self._history.last_on(number) if number is not None else None
        return {"process": process, "sql": " ".join(sql.split())[:200], "site": last["site"] if last else None}


async def _waits(arguments: dict[str, Any], processes: list[int]) -> list[Any]:
    import asyncpg

    from pytest_savepoint.databases.session import OwnConnection

    connection = await asyncpg.connect(
        **arguments,
        connection_class=OwnConnection,
        timeout=_PATIENCE,
        command_timeout=_PATIENCE,
        server_settings={"application_name": "savepoint"},
    )
    try:
        return list(await connection.fetch(_WAITING, processes))
    finally:
        await connection.close(timeout=_PATIENCE)
