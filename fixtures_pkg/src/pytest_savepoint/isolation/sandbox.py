"""The sandbox: during a test every transaction of the process is a savepoint on the worker's one connection.

How a test runs through it. The first statement opens an outer transaction and the savepoint `sp_0`. A transaction
of the application that begins sends nothing: `sp_0` stands for it already. Its COMMIT becomes "release sp_0, set
sp_0 again", so that nothing later can undo it; its ROLLBACK becomes "rollback to sp_0". After the test the outer
transaction is rolled back.

One connection has one stack of savepoints, so transactions that are open at the same time must end last-in-first-out.
Three rules keep that true without the application noticing:
- a transaction that has only read occupies nothing, so any other may pass it;
- a transaction of an unrelated task waits until the writer on top of the stack has ended, as ten sessions under
  `asyncio.gather` do;
- a transaction of the same task, or of a task which that one started, is nested in a savepoint of its own: waiting
  would be for ever.
Where that cannot serve, `SandboxError` names both transactions.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from pytest_savepoint.errors import SandboxError
from pytest_savepoint.isolation.origin import Origin, find_origin
from pytest_savepoint.isolation.statements import Statement

__all__ = ["Sandbox", "Transaction", "Wire"]

T = TypeVar("T")

_open_above: contextvars.ContextVar[tuple[Transaction, ...]] = contextvars.ContextVar("savepoint_open", default=())


class Wire(Protocol):
    """The server connection under the sandbox, whichever driver speaks over it."""

    driver: str

    @property
    def is_open(self) -> bool: ...
    async def connection(self, *, in_transaction: bool) -> Any: ...
    async def execute(self, sql: str) -> None: ...
    def execute_now(self, sql: str) -> bool: ...
    def forget_statements(self) -> None: ...
    def close(self) -> None: ...


class Transaction:
    """One transaction of one session of the application, from its first statement to its commit or rollback."""

    __slots__ = (
        "absorbed",
        "broken_by",
        "committed",
        "driver",
        "ended",
        "failed",
        "level",
        "opener",
        "read_only",
        "task",
        "wrote",
    )

    def __init__(self, driver: str, *, read_only: bool = False) -> None:
        self.driver = driver
        self.opener: Origin = find_origin()
        self.read_only = read_only
        self.task: asyncio.Task[Any] | None = None
        self.level: int | None = None
        """Its place on the stack of savepoints; None while it has only read."""
        self.wrote = False
        self.failed = False
        self.committed = False
        """It has committed, but a transaction nested in it is still open."""
        self.absorbed: Transaction | None = None
        """One that committed inside this one while it was still open."""
        self.broken_by: Transaction | None = None
        """The transaction around it, which was rolled back while this one was open."""
        self.ended: asyncio.Event | None = None

    def __str__(self) -> str:
        task = f"task {self.task.get_name()}" if self.task is not None else "no task"
        return f"the session used at {self.opener} ({task})"

    def end(self) -> None:
        """Leave the stack."""
        self.level = None
        self.wrote = self.failed = False
        self.wake_waiting()

    def wake_waiting(self) -> None:
        if self.ended is not None:
            self.ended.set()
            self.ended = None


class Sandbox:
    """The worker's one connection and the stack of open transactions on it; one per process."""

    def __init__(self, openers: Mapping[str, Callable[[], Awaitable[Wire]]], *, timeout: float) -> None:
        """
        :param openers: for each driver, what connects to the worker's database on the running loop.
        :param timeout: seconds that one transaction may wait for another.
        """
        self._openers = openers
        self._timeout = timeout
        self.wire: Wire | None = None
        self._lock: asyncio.Lock | None = None
        self._lock_loop: asyncio.AbstractEventLoop | None = None
        self._stack: list[Transaction] = []
        self._started = False
        self._sullied = False
        self._state_outlives = False
        self._overdue: int | None = None
        """The level to which a rollback is still to be sent."""
        self._failed: Transaction | None = None
        """The transaction whose error made the server refuse everything until a rollback."""
        self._lost: tuple[Transaction, Transaction] | None = None
        self.test: str | None = None
        """The node id of the test in whose sandbox the process is; None outside of tests."""
        self.epoch = 0

    # -- a test begins and ends ------------------------------------------------------------------------------------

    def enter(self, test: str) -> None:
        """Begin a test; nothing is sent until its first statement."""
        self.test = test
        self.epoch += 1
        self._stack.clear()
        self._lost = self._failed = self._overdue = None

    def leave(self) -> None:
        """End a test: undo all that it did, without an event loop, because the test's may be closed already.

        :raises SandboxError: when the test ended the transaction that isolated it, so that what it did has stayed.
        """
        test, self.test = self.test, None
        self.epoch += 1
        self._stack.clear()
        wire, started, self._started = self.wire, self._started, False
        if wire is None or not started:
            return
        busy = self._lock is not None and self._lock.locked()
        self._lock = self._lock_loop = None
        if busy or not wire.is_open:
            # A statement is still on its way, of a task that the test left behind: its answer must not reach the next.
            wire.close()
            self.wire = None
            return
        try:
            was_isolated = self._undo(wire)
        except OSError:
            # The server went away; what was not committed is gone with it.
            self.wire = None
            return
        if not was_isolated:
            raise SandboxError(
                f"{test} ended the transaction that isolates it, by COMMIT or ROLLBACK inside a longer text or a "
                "function, so what it did before has stayed in the database.\n"
                f"Use the session's commit() and rollback(), or {_WAY_OUT}"
            )

    def _undo(self, wire: Wire) -> bool:
        # The savepoint is gone exactly when somebody ended the transaction around it.
        was_isolated = wire.execute_now("ROLLBACK TO SAVEPOINT sp_0; ROLLBACK")
        if not was_isolated:
            wire.execute_now("ROLLBACK")
        if self._state_outlives:
            wire.execute_now("SELECT pg_advisory_unlock_all(); UNLISTEN *; CLOSE ALL")
        if self._sullied:
            wire.forget_statements()
        self._state_outlives = self._sullied = False
        return was_isolated

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Work that is not part of the test, such as setting up a fixture of wider scope: commits are real in here."""
        test, self.test = self.test, None
        try:
            yield
        finally:
            self.test = test

    def abandon(self, transaction: Transaction) -> None:
        """Roll a transaction back without waiting for it: the next statement of the test sends the rollback."""
        level = transaction.level
        if level is not None:
            self._overdue = level if self._overdue is None else min(self._overdue, level)
            self._forget_from(level, transaction)
        transaction.end()

    def close(self) -> None: ...


class Transaction:
    """One transaction of one session of the application, from its first statement to its commit or rollback."""

    __slots__ = (
        "absorbed",
        "broken_by",
        "committed",
        "driver",
        "ended",
        "failed",
        "level",
        "opener",
        "read_only",
        "task",
        "wrote",
    )

    def __init__(self, driver: str, *, read_only: bool = False) -> None:
        self.driver = driver
        self.opener: Origin = find_origin()
        self.read_only = read_only
        self.task: asyncio.Task[Any] | None = None
        self.level: int | None = None
        """Its place on the stack of savepoints; None while it has only read."""
        self.wrote = False
        self.failed = False
        self.committed = False
        """It has committed, but a transaction nested in it is still open."""
        self.absorbed: Transaction | None = None
        """One that committed inside this one while it was still open."""
        self.broken_by: Transaction | None = None
        """The transaction around it, which was rolled back while this one was open."""
        self.ended: asyncio.Event | None = None

    def __str__(self) -> str:
        task = f"task {self.task.get_name()}" if self.task is not None else "no task"
        return f"the session used at {self.opener} ({task})"

    def end(self) -> None:
        """Leave the stack."""
        self.level = None
        self.wrote = self.failed = False
        self.wake_waiting()

    def wake_waiting(self) -> None:
        if self.ended is not None:
            self.ended.set()
            self.ended = None


class Sandbox:
    """The worker's one connection and the stack of open transactions on it; one per process."""

    def __init__(self, openers: Mapping[str, Callable[[], Awaitable[Wire]]], *, timeout: float) -> None:
        """
        :param openers: for each driver, what connects to the worker's database on the running loop.
        :param timeout: seconds that one transaction may wait for another.
        """
        self._openers = openers
        self._timeout = timeout
        self.wire: Wire | None = None
        self._lock: asyncio.Lock | None = None
        self._lock_loop: asyncio.AbstractEventLoop | None = None
        self._stack: list[Transaction] = []
        self._started = False
        self._sullied = False
        self._state_outlives = False
        self._overdue: int | None = None
        """The level to which a rollback is still to be sent."""
        self._failed: Transaction | None = None
        """The transaction whose error made the server refuse everything until a rollback."""
        self._lost: tuple[Transaction, Transaction] | None = None
        self.test: str | None = None
        """The node id of the test in whose sandbox the process is; None outside of tests."""
        self.epoch = 0

    # -- a test begins and ends ------------------------------------------------------------------------------------

    def enter(self, test: str) -> None:
        """Begin a test; nothing is sent until its first statement."""
        self.test = test
        self.epoch += 1
        self._stack.clear()
        self._lost = self._failed = self._overdue = None

    def leave(self) -> None:
        """End a test: undo all that it did, without an event loop, because the test's may be closed already.

        :raises SandboxError: when the test ended the transaction that isolated it.
        """
        self.test = None
        self.epoch += 1
        self._stack.clear()
        wire, started = self.wire, self._started
        self._started = False
        if wire is None or not started:
            return
        busy = self._lock is not None and self._lock.locked()
        self._lock = self._lock_loop = None
        if busy or not wire.is_open:
            # A statement is still on its way, of a task that the test left behind: its answer must not reach the next.
            wire.close()
            self.wire = None
            return
        with contextlib.suppress(OSError):
            wire.execute_now(self._undo())
        if not wire.is_open:
            self.wire = None

    def _undo(self) -> str:
        sql = "ROLLBACK"
        if self._state_outlives:
            sql += "; SELECT pg_advisory_unlock_all(); UNLISTEN *; CLOSE ALL"
        self._state_outlives = False
        if self._sullied and self.wire is not None:
            self.wire.forget_statements()
        self._sullied = False
        return sql

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Work that is not part of the test, such as setting up a fixture of wider scope: commits are real in here."""
        test, self.test = self.test, None
        try:
            yield
        finally:
            self.test = test

    def abandon(self, transaction: Transaction) -> None:
        """Forget an open transaction without a word to the server; the end of the test undoes it."""
        if transaction.level is not None:
            for other in self._stack[transaction.level :]:
                other.end()
            del self._stack[transaction.level :]
        transaction.end()

    def close(self) -> None:
        """Close the connection, at the end of the process."""
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    # -- one statement ---------------------------------------------------------------------------------------------

    async def run(self, transaction: Transaction, statement: Statement, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Run one operation of a transaction on the shared connection, when its turn has come.

        :param operation: gets the driver's connection of the running loop.
        :raises SandboxError: when one connection cannot serve both this and another open transaction.
        """
        transaction.task = asyncio.current_task()
        self._refuse_impossible(transaction, statement)
        while True:
            async with self._hold(transaction) as connection:
                blocker = self._blocker(transaction, statement)
                if blocker is None:
                    await self._make_room(transaction, statement)
                    return await self._operate(transaction, statement, operation, connection)
            await self._wait_for(blocker, transaction)

    async def commit(self, transaction: Transaction) -> None:
        """Make a transaction's changes independent of every later rollback in this test."""
        if transaction.failed:
            # PostgreSQL answers COMMIT in a failed transaction with ROLLBACK.
            await self.rollback(transaction)
            return
        if transaction.level is None:
            transaction.end()
            return
        async with self._hold(transaction):
            await self._dissolve_readers_above(transaction)
            transaction.committed = True
            await self._release_committed()
        transaction.wake_waiting()

    async def rollback(self, transaction: Transaction) -> None:
        """Undo a transaction's changes, and only those."""
        if transaction.level is not None:
            async with self._hold(transaction):
                await self._dissolve_readers_above(transaction)
                await self._roll_back_to(transaction)
                await self._release_committed()
        elif self._failed is transaction:
            async with self._hold(transaction):
                await self._heal()
        transaction.end()

    def _refuse_impossible(self, transaction: Transaction, statement: Statement) -> None:
        if statement.ends_transaction:
            raise SandboxError(
                f"{transaction} sent raw transaction control (BEGIN, COMMIT, ROLLBACK or PREPARE TRANSACTION as text), "
                f"which would end the transaction that isolates {self.test}.\n"
                f"Use the session's commit() and rollback(), or {_WAY_OUT}"
            )
        if transaction.broken_by is not None:
            raise SandboxError(
                f"{transaction} was nested in {transaction.broken_by}, which has been rolled back in the meantime and "
                "took this one's changes with it. On two connections they would be independent, on the one that "
                f"isolates {self.test} they must end last-in-first-out.\n"
                f"Commit the outer session before the inner one begins, or {_WAY_OUT}"
            )
        if self._lost is not None:
            outer, inner = self._lost
            raise SandboxError(
                f"{outer} was rolled back after {inner} had committed inside it, so that commit is lost here, while on "
                f"two connections it would have stayed. What {self.test} reads from now on would be wrong.\n"
                f"Commit or close the first session before the second one begins, or {_WAY_OUT}"
            )
        if transaction.failed and self._failed is not transaction and not statement.rolls_back_to:
            raise SandboxError(
                f"{transaction} had an error and was not rolled back before another session used the connection; "
                "on a connection of its own the server would refuse this statement too (current transaction is "
                "aborted).\nCall rollback() after the error."
            )

    @contextlib.asynccontextmanager
    async def _hold(self, transaction: Transaction) -> AsyncIterator[Any]:
        """The connection on the running loop, for one operation at a time."""
        async with self._turn():
            wire = await self.open_wire(transaction.driver)
            connection = await wire.connection(in_transaction=self._started)
            if not self._started:
                self._started = True
                await wire.execute("BEGIN; SAVEPOINT sp_0")
            if self._overdue is not None:
                level, self._overdue = self._overdue, None
                self._failed = None
                await wire.execute(_roll_back_to(level))
            yield connection

    def _turn(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._lock is None or (self._lock_loop is not loop and not self._lock.locked()):
            self._lock, self._lock_loop = asyncio.Lock(), loop
        if self._lock_loop is not loop:
            raise SandboxError(
                f"Two event loops use the database at the same moment in {self.test}: one statement is under way on "
                f"{self._lock_loop!r}, another was sent on {loop!r}. One connection cannot serve both at once.\n"
                f"Await the first before the second begins, or {_WAY_OUT}"
            )
        return self._lock

    async def open_wire(self, driver: str) -> Wire:
        """The connection under the sandbox, opened on the running loop if it is not there.

        :raises SandboxError: when the test has begun with another driver, or its connection was lost.
        """
        wire = self.wire
        if wire is not None and wire.driver != driver:
            if self._started:
                raise SandboxError(
                    f"The session used at {find_origin()} needs the driver {driver}, while {self.test} has begun with "
                    f"{wire.driver}. One connection speaks with one driver, so the two would not see each other's rows."
                    "\nUse one driver for all async engines; db_session has the driver that the database URL in the environment "
                    f"names, such as postgresql+psycopg://. Or {_WAY_OUT}"
                )
            wire.close()
            wire = None
        if wire is not None and not wire.is_open and self._started:
            raise SandboxError(
                f"The server connection that isolates {self.test} was closed by the server or by the test, and all "
                f"that the test did before is gone.\nA test that ends its own backend: {_WAY_OUT}"
            )
        if wire is None or not wire.is_open:
            wire = self.wire = await self._openers[driver]()
        return wire

    async def _operate(
        self,
        transaction: Transaction,
        statement: Statement,
        operation: Callable[[Any], Awaitable[T]],
        connection: Any,
    ) -> T:
        self._sullied = self._sullied or statement.defines
        self._state_outlives = self._state_outlives or statement.outlives_transaction
        try:
            result = await operation(connection)
        except BaseException as error:
            if hasattr(error, "sqlstate") or isinstance(error, asyncio.CancelledError | TimeoutError):
                transaction.failed = True
                self._failed = transaction
            raise
        if statement.rolls_back_to:
            transaction.failed = False
            self._failed = None
        if statement.defines and self.wire is not None:
            self.wire.forget_statements()
        return result

    # -- whose turn it is ------------------------------------------------------------------------------------------

    def _blocker(self, transaction: Transaction, statement: Statement) -> Transaction | None:
        """The open transaction that must end before this one's statement may run."""
        top = next((other for other in reversed(self._stack) if other.wrote and not other.committed), None)
        if top is None or top is transaction:
            return None
        if not _waiting_could_be_for_ever(top, transaction.task):
            return top
        if transaction.level is not None and statement.writes:
            raise SandboxError(
                f"{transaction} writes while {top}, which began later, is still open. On two connections that works, "
                f"on the one that isolates {self.test} transactions must end last-in-first-out.\n"
                f"Commit or close the later session first, or {_WAY_OUT}"
            )
        return None

    async def _wait_for(self, blocker: Transaction, transaction: Transaction) -> None:
        if blocker.level is None:
            return
        if blocker.ended is None:
            blocker.ended = asyncio.Event()
        ended = asyncio.ensure_future(blocker.ended.wait())
        parties: set[asyncio.Future[Any]] = {ended} if blocker.task is None else {ended, blocker.task}
        try:
            done, _ = await asyncio.wait(parties, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if not done:
            raise SandboxError(
                f"{transaction} waited {self._timeout:g} s for {blocker}, whose transaction is still open with changes "
                f"that are not committed. On the one connection that isolates {self.test} only one of them can go on.\n"
                f"Commit or close the first session before other tasks use the database, raise sandbox-timeout, or "
                f"{_WAY_OUT}"
            )

    # -- the stack of savepoints -----------------------------------------------------------------------------------

    async def _make_room(self, transaction: Transaction, statement: Statement) -> None:
        """Give the transaction a savepoint of its own to return to, where the statement needs one."""
        await self._dissolve_readers_above(transaction)
        if self._failed is not None and self._failed is not transaction:
            await self._heal()
        occupies = statement.writes or transaction.read_only
        if transaction.level is None and (occupies or self._stack):
            transaction.level = len(self._stack)
            self._stack.append(transaction)
            if transaction.level > 0:
                await self._execute(f"SAVEPOINT sp_{transaction.level}")
            if transaction.read_only:
                await self._execute("SET LOCAL transaction_read_only = on")
        if occupies and not transaction.wrote:
            transaction.wrote = True
            _open_above.set((*(other for other in _open_above.get() if other.level is not None), transaction))

    async def _dissolve_readers_above(self, transaction: Transaction) -> None:
        """Take back the savepoints of nested transactions that have only read, so that an outer one can go on."""
        if transaction.level is None:
            return
        while len(self._stack) > transaction.level + 1 and not self._stack[-1].wrote:
            reader = self._stack.pop()
            await self._execute(f"RELEASE SAVEPOINT sp_{reader.level}")
            reader.level = None

    async def _release_committed(self) -> None:
        """Give up the savepoints of committed transactions on top of the stack; below an open one they must wait."""
        sql = []
        while self._stack and self._stack[-1].committed:
            done = self._stack.pop()
            if done.read_only:
                sql.append(f"ROLLBACK TO SAVEPOINT sp_{done.level}")
            sql.append(f"RELEASE SAVEPOINT sp_{done.level}")
            if not self._stack:
                sql.append("SAVEPOINT sp_0")
            elif done.wrote:
                self._stack[-1].absorbed = done
            done.end()
        if sql:
            await self._execute("; ".join(sql))

    async def _roll_back_to(self, transaction: Transaction) -> None:
        level = transaction.level
        if level is not None:
            self._forget_from(level, transaction)
            self._failed = None
            await self._execute(_roll_back_to(level))

    def _forget_from(self, level: int, transaction: Transaction) -> None:
        for inner in self._stack[level + 1 :]:
            inner.broken_by = transaction
            if inner.committed:
                transaction.absorbed = inner
            inner.level = None
        if transaction.absorbed is not None:
            self._lost = (transaction, transaction.absorbed)
        del self._stack[level:]

    async def _heal(self) -> None:
        """Make the server accept statements again after the error of a transaction that is not at work now."""
        level = self._failed.level if self._failed is not None else None
        self._failed = None
        await self._execute(f"ROLLBACK TO SAVEPOINT sp_{level or 0}")

    async def _execute(self, sql: str) -> None:
        if self.wire is not None:
            await self.wire.execute(sql)


_WAY_OUT = 'mark the test with @pytest.mark.savepoint(isolation="none").'


def _roll_back_to(level: int) -> str:
    # The savepoint of level 0 always stands, for whichever transaction writes next.
    return f"ROLLBACK TO SAVEPOINT sp_{level}" + (f"; RELEASE SAVEPOINT sp_{level}" if level else "")


def _waiting_could_be_for_ever(other: Transaction, task: asyncio.Task[Any] | None) -> bool:
    """Whether the other transaction may be waiting for this task: same task, an ancestor, ended, or another loop."""
    if other.task is None or other.task is task or other.task.done() or other in _open_above.get():
        return True
    # A loop that is blocked while another runs (Starlette's TestClient in an async test) cannot end its transaction.
    return other.task.get_loop() is not asyncio.get_running_loop()
