"""The sandbox: during a test every transaction of the process is a savepoint on the worker's one connection.

How a test runs through it. The first statement opens an outer transaction and the savepoint `sp_0`. A transaction
of the application that begins sends nothing: `sp_0` stands for it already. Its COMMIT becomes "release sp_0, set
sp_0 again", so that nothing later can undo it; its ROLLBACK becomes "rollback to sp_0". After the test the outer
transaction is rolled back. All but the rollbacks wait for the application's next statement and travel with it.

A layer is a transaction of a module or a class around its tests, each of which is a savepoint in it. What is committed
between its tests, by fixtures that are set up or torn down, stays until the layer closes.

One connection has one stack of savepoints, so transactions that are open at the same time must end last-in-first-out.
Four rules keep that true without the application noticing:
- a transaction that has only read occupies nothing, so any other may pass it;
- a transaction of an unrelated task waits until the writer on top of the stack has ended, as ten sessions under
  `asyncio.gather` do;
- a transaction of the same task, or of a task which that one started, is nested in a savepoint of its own: waiting
  would be for ever;
- a transaction that failed is rolled back as soon as another goes on.
Where that cannot serve, an error names both transactions (`conflicts`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from pytest_savepoint.databases.audit import LISTEN, Commit, read_commit
from pytest_savepoint.isolation import conflicts
from pytest_savepoint.isolation.layers import Layers
from pytest_savepoint.isolation.origin import find_origin
from pytest_savepoint.isolation.stack import SavepointStack
from pytest_savepoint.isolation.statements import Statement
from pytest_savepoint.isolation.transaction import Transaction
from pytest_savepoint.isolation.wire import Wire

__all__ = ["Sandbox"]

T = TypeVar("T")
# The server's words for "somebody ended the transaction that isolates the test".
_NO_SAVEPOINT = ("3B001", "25P01")
# And for VACUUM, CREATE INDEX CONCURRENTLY, CREATE DATABASE and their like.
_NOT_IN_A_TRANSACTION = "25001"


class Sandbox:
    """The worker's one connection and the transactions of a test on it; one per process."""

    def __init__(self, openers: Mapping[str, Callable[[], Awaitable[Wire]]], *, timeout: float) -> None:
        """
        :param openers: for each driver, what connects to the worker's database on the running loop.
        :param timeout: seconds that one transaction may wait for another.
        """
        self._openers = openers
        self._timeout = timeout
        self._stack = SavepointStack()
        self._lock: asyncio.Lock | None = None
        self._lock_loop: asyncio.AbstractEventLoop | None = None
        self._started = False
        self._defined = False
        self._state_outlives = False
        self._deaf = False
        self._unread: list[Commit] = []
        self._layers = Layers()
        self.wire: Wire | None = None
        self.test: str | None = None
        """The node id of the test in whose sandbox the process is; None outside of tests."""
        self.in_gap = False
        """No test runs, but the fixtures of a layer may; their commits go to the layer."""
        self.holds_fixture_rows = False
        """A fixture of wider scope has committed to this database, so it is more than a clone of the template."""
        self.deferred = ""
        """The constraints that are checked at COMMIT, as SET CONSTRAINTS names them."""
        self.sequences = ""
        """SQL that sets the sequences anew for each test."""
        self.epoch = 0
        """Counts tests and the gaps between them; a transaction of another epoch is over."""

    # -- a test begins and ends ------------------------------------------------------------------------------------

    def enter(self, test: str) -> None:
        """Begin a test; nothing is sent until its first statement.

        :raises SandboxError: when the layer around it was lost with its connection.
        """
        if self._layers.lost is not None:
            raise conflicts.layer_was_lost(self._layers.lost, test)
        self._end_gap()
        self.test = test
        self.epoch += 1
        self._stack = SavepointStack()

    def leave(self) -> list[Commit]:
        """End a test: undo all that it did, without an event loop, because the test's may be closed already.

        :return: what was committed meanwhile in this database past the sandbox, as far as the server told.
        :raises SandboxError: when the test ended the transaction that isolated it, so that what it did has stayed.
        """
        try:
            return self._leave(keep=False)
        finally:
            self._begin_gap()

    def _leave(self, *, keep: bool) -> list[Commit]:
        test, self.test = self.test, None
        self.epoch += 1
        wire, started, self._started = self.wire, self._started, False
        if wire is None:
            return []
        busy = self._lock is not None and self._lock.locked()
        self._lock = self._lock_loop = None
        if busy or not wire.is_open:
            # A statement is still on its way, of a task that the test left behind: its answer must not reach the next.
            self.close()
            return []
        try:
            was_isolated = self._undo(wire, keep=keep) if started else wire.execute_now("")
        except OSError:
            # The server went away; what was not committed is gone with it.
            self.close()
            return []
        if not was_isolated:
            raise conflicts.test_escaped(test)
        return self._told()

    def _told(self) -> list[Commit]:
        """What was committed past the transaction that has just ended; within a layer's the server tells nothing yet."""
        if self._layers.are_begun:
            return []
        deaf, self._deaf = self._deaf, False
        commits = self.heard()
        if deaf and commits:
            self.holds_fixture_rows = True
        return [] if deaf else commits

    def _undo(self, wire: Wire, *, keep: bool) -> bool:
        was_isolated = wire.execute_now(self._layers.end_test(keep=keep))
        if not was_isolated:
            wire.execute_now("ROLLBACK")
        if self._state_outlives:
            wire.execute_now(f"SELECT pg_advisory_unlock_all(); UNLISTEN *; CLOSE ALL; {LISTEN}")
        if self._defined:
            wire.forget_statements()
        self._state_outlives = self._defined = False
        return was_isolated

    @property
    def backend(self) -> int | None:
        """The server process that holds what the running test has locked, if there is a test; asked by another thread."""
        wire = self.wire
        return wire.backend_pid if wire is not None and self.test is not None and self._in_transaction else None

    def heard(self) -> list[Commit]:
        """What the server has told of commits in this database since the last time somebody asked."""
        unread, self._unread = self._unread, []
        if self.wire is not None:
            unread += [commit for commit in map(read_commit, self.wire.heard) if commit is not None]
            self.wire.heard.clear()
        return unread

    def listen_now(self) -> list[Commit]:
        """What was committed in this database up to now; asks the server. Only between tests."""
        with contextlib.suppress(OSError):
            if self.wire is not None and self.wire.is_open:
                self.wire.execute_now("")
        return self.heard()

    # -- a module or a class with data of its own ------------------------------------------------------------------

    @property
    def layer(self) -> str | None:
        """The module or class whose transaction is open around the tests that run now."""
        return self._layers.innermost

    def refuse_layer(self, test: str, isolation: str) -> None:
        """Refuse a test that is undone in another way: it would not see what the layer's fixtures made.

        :raises SandboxError: when a layer is open.
        """
        if self.layer is not None:
            raise conflicts.layer_is_elsewhere(self.layer, test, isolation)

    def open_layer(self, name: str) -> None:
        """Keep a transaction around the tests of a module or a class; nothing is sent until the first statement.

        :param name: the nodeid of the module or class.
        """
        self._end_gap()
        self._layers.open(name)
        self._begin_gap()

    def close_layer(self) -> list[Commit]:
        """Undo what the layer's fixtures did.

        :return: what was committed meanwhile in this database past the sandbox.
        """
        self._end_gap()
        undoing = self._layers.close()
        try:
            if undoing and self.wire is not None and self.wire.is_open:
                self.wire.execute_now(undoing)
        except OSError:
            self.close()
        commits = self._told()
        self._begin_gap()
        return commits

    def _begin_gap(self) -> None:
        if self.layer is not None and self._layers.lost is None:
            self.enter(self.layer)
            self.in_gap = True

    def _end_gap(self) -> None:
        if self.in_gap:
            self.in_gap = False
            self._leave(keep=True)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Work that is not part of a test, such as setting up a fixture of wider scope: commits are real in here."""
        test, self.test = self.test, None
        earlier = [] if self._in_transaction else self.listen_now()
        try:
            yield
        finally:
            if self.test is None:  # else the fixture has opened a layer
                self.test = test
            if self._in_transaction:
                # Within a transaction the server tells nothing, and afterwards nobody knows who it was.
                self._deaf = True
            elif self.listen_now():
                self.holds_fixture_rows = True
            self._unread = earlier
            if self.wire is not None:
                # DDL that was committed would fail the statements prepared before.
                self.wire.forget_statements()

    def close(self) -> None:
        """Close the connection."""
        if self.wire is not None:
            self._layers.lose()
            self._deaf = False
            self.wire.close()
            self.wire = None

    # -- a transaction ---------------------------------------------------------------------------------------------

    async def run(self, transaction: Transaction, statement: Statement, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Run one operation of a transaction on the shared connection, when its turn has come.

        :param operation: gets the driver's connection of the running loop.
        :raises SandboxError: when one connection cannot serve both this and another open transaction.
        """
        transaction.task = asyncio.current_task()
        self._refuse_impossible(transaction, statement)
        while True:
            async with self._turn():
                connection = await self._connection(transaction.driver)
                blocker = self._blocker(transaction, statement)
                if blocker is None:
                    await self._send(self._stack.make_room(transaction, statement), at_once=False)
                    self._refuse_after_loss()
                    return await self._operate(transaction, statement, operation, connection)
            if not await blocker.wait_for_end(self._timeout):
                raise conflicts.waited_too_long(transaction, blocker, self._timeout, self.test)

    async def commit(self, transaction: Transaction) -> None:
        """Make a transaction's changes independent of every later rollback in this test.

        :raises SandboxError: when the rollback of a transaction around it has taken its changes.
        """
        if transaction.failed:
            # PostgreSQL answers COMMIT in a failed transaction with ROLLBACK.
            await self.rollback(transaction)
        elif transaction.broken_by is not None:
            raise conflicts.broken_by_outer(transaction, transaction.broken_by, self.test)
        elif transaction.level is None:
            transaction.end()
        else:
            # The check would hold another open transaction to what that one may still put right.
            if self.deferred and self._stack.writes_alone(transaction):
                await self._check_deferred(transaction)
            try:
                async with self._turn():
                    await self._connection(transaction.driver)
                    await self._send(self._stack.commit(transaction), at_once=False)
                    self._refuse_after_loss()
                # A commit lets others go on, as the wait for its answer would.
                await asyncio.sleep(0)
            finally:
                transaction.wake_waiting()

    async def _check_deferred(self, transaction: Transaction) -> None:
        """Check now what PostgreSQL checks at COMMIT, which never comes here; a fault undoes the transaction."""
        try:
            async with self._turn():
                await self._connection(transaction.driver)
                await self._send(self._stack.check(transaction, self.deferred))
        except Exception:  # whatever the server found: the transaction is over, as after a COMMIT that failed
            transaction.failed = True
            self._stack.failed = transaction
            await self.rollback(transaction)
            raise

    async def rollback(self, transaction: Transaction) -> None:
        """Undo a transaction's changes, and only those."""
        try:
            if transaction.level is not None or self._stack.failed is transaction:
                async with self._turn():
                    await self._connection(transaction.driver)
                    await self._send(self._stack.roll_back(transaction))
        finally:
            transaction.end()

    def abandon(self, transaction: Transaction) -> None:
        """Roll a transaction back without waiting for it: the next statement of the test sends the rollback."""
        self._stack.abandon(transaction)
        transaction.end()

    def _refuse_impossible(self, transaction: Transaction, statement: Statement) -> None:
        if statement.ends_transaction:
            raise conflicts.raw_control(transaction, self.test)
        if statement.listens:
            raise conflicts.listens("LISTEN", self.test)
        if transaction.broken_by is not None:
            raise conflicts.broken_by_outer(transaction, transaction.broken_by, self.test)
        self._refuse_after_loss()
        if transaction.failed and self._stack.failed is not transaction:
            raise conflicts.savepoint_is_gone(transaction) if statement.rolls_back_to else conflicts.needs_rollback(transaction)

    def _refuse_after_loss(self) -> None:
        if self._stack.lost is not None:
            raise conflicts.commit_was_lost(*self._stack.lost, self.test)

    def _blocker(self, transaction: Transaction, statement: Statement) -> Transaction | None:
        """The open transaction that must end before this one's statement may run."""
        top = self._stack.top_writer()
        if top is None or top is transaction:
            return None
        if not top.may_wait_for(transaction.task):
            return top
        if statement.writes and transaction.is_below(top):
            raise conflicts.outer_writes(transaction, top, self.test)
        return None

    async def _operate(
        self,
        transaction: Transaction,
        statement: Statement,
        operation: Callable[[Any], Awaitable[T]],
        connection: Any,
    ) -> T:
        self._defined = self._defined or statement.defines
        self._state_outlives = self._state_outlives or statement.outlives_transaction
        try:
            result = await operation(connection)
        except BaseException as error:
            if hasattr(error, "sqlstate") or isinstance(error, (asyncio.CancelledError, TimeoutError)):
                transaction.failed = True
                self._stack.failed = transaction
            if self.wire is not None and self.wire.refusal in _NO_SAVEPOINT and isinstance(error, Exception):
                raise conflicts.test_escaped(self.test) from error
            if getattr(error, "sqlstate", None) == _NOT_IN_A_TRANSACTION:
                raise conflicts.not_in_a_transaction(transaction, self.test) from error
            raise
        if statement.writes and self.wire is not None and not self.wire.is_in_transaction:
            raise conflicts.test_escaped(self.test)
        if statement.writes and self._stack.failed is transaction:
            # Nothing but a ROLLBACK TO SAVEPOINT succeeds then.
            transaction.failed = False
            self._stack.failed = None
        if statement.defines and self.wire is not None:
            self.wire.forget_statements()
        return result

    # -- the connection --------------------------------------------------------------------------------------------

    async def _connection(self, driver: str) -> Any:
        """The connection on the running loop, in a transaction that isolates the test; whoever asks has the turn."""
        wire = await self.open_wire(driver)
        connection = await wire.connection(in_transaction=self._in_transaction)
        if not self._started:
            self._started = True
            await self._send(self._layers.begin_test(), at_once=False)
            await self._send(self.sequences, at_once=False)
        await self._send(self._stack.overdue(), at_once=False)
        return connection

    @property
    def _in_transaction(self) -> bool:
        return self._started or self._layers.are_begun

    def _turn(self) -> asyncio.Lock:
        """For one operation at a time."""
        loop = asyncio.get_running_loop()
        if self._lock is None or (self._lock_loop is not loop and not self._lock.locked()):
            self._lock, self._lock_loop = asyncio.Lock(), loop
        if self._lock_loop is not loop:
            raise conflicts.two_loops_at_once(self._lock_loop, loop, self.test)
        return self._lock

    async def open_wire(self, driver: str) -> Wire:
        """The connection under the sandbox, opened on the running loop if it is not there.

        :raises SandboxError: when the test has begun with another driver, or its connection was lost.
        """
        wire = self.wire
        if wire is not None and wire.driver != driver:
            if self._in_transaction:
                raise conflicts.drivers_mixed(find_origin(), driver, wire.driver, self.test)
            wire.close()
            wire = None
        if wire is not None and not wire.is_open and self._in_transaction:
            raise conflicts.connection_was_lost(self.test)
        if wire is None or not wire.is_open:
            wire = self.wire = await self._openers[driver]()
        return wire

    async def _send(self, sql: str, *, at_once: bool = True) -> None:
        """Say something to the server, at once or before the application's next statement."""
        if not sql or self.wire is None:
            return
        try:
            await (self.wire.execute(sql) if at_once else self.wire.precede(sql))
        except Exception as error:
            if getattr(error, "sqlstate", None) in _NO_SAVEPOINT:
                raise conflicts.test_escaped(self.test) from error
            raise
