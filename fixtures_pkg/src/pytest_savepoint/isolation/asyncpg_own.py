"""The server connection that an asyncpg engine's connection has for itself where commits are real, handed from loop to loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire
from pytest_savepoint.isolation.asyncpg_wires import IdleWires

__all__ = ["OwnConnection"]

# An answer that nobody waits for any more comes all the same.
_GIVEN_UP = (asyncio.CancelledError, asyncio.TimeoutError, GeneratorExit)


class OwnConnection:
    """One server connection, opened with its first use; nobody else gets it before its last statement is answered."""

    def __init__(self, arguments: dict[str, Any], wires: IdleWires, codecs: list[dict[str, Any]]) -> None:
        """
        :param arguments: what `asyncpg.connect` takes.
        :param wires: where it gets a wire and gives it back.
        :param codecs: what `set_type_codec` takes, for each wire.
        """
        self._arguments = arguments
        self._wires = wires
        self._codecs = codecs
        self.wire: AsyncpgWire | None = None
        self.transaction: asyncpg.transaction.Transaction | None = None
        self._operations = 0
        self._gave_up = False

    @property
    def is_lost(self) -> bool:
        """The server or a failure has closed it."""
        return self.wire is not None and not self.wire.is_open

    async def connection(self) -> asyncpg.Connection:
        """The asyncpg connection of the running loop."""
        wire = self.wire
        if wire is None or not wire.is_open:
            wire = self.wire = await self._wires.take(self._arguments)
            connection = await wire.connection(in_transaction=False)
            for codec in self._codecs:
                await wire.set_type_codec(connection, codec)
        return await wire.connection(in_transaction=False)

    async def run(self, operation: Callable[[Any], Awaitable[Any]], *, defines: bool) -> Any:
        """Run an operation of the application.

        :param defines: it is DDL, after which statements are prepared anew.
        """
        connection = await self.connection()
        try:
            return await self._answer_to(operation(connection))
        except asyncpg.InvalidCachedStatementError:
            self._forget_statements()
            raise
        finally:
            if defines:
                self._forget_statements()

    async def begin(self, **options: Any) -> asyncpg.transaction.Transaction:
        """Begin a transaction with the options of `asyncpg.Connection.transaction`."""
        transaction = (await self.connection()).transaction(**options)
        await self._answer_to(transaction.start())
        self.transaction = transaction
        return transaction

    async def finish(self, transaction: asyncpg.transaction.Transaction, how: str) -> bool:
        """Commit or roll back, if it is still there to be ended; False when its loop has ended before it.

        :param how: "commit" or "rollback".
        """
        if self.transaction is not transaction:
            return True
        self.transaction = None
        if self.wire is None or self.wire.loop is not asyncio.get_running_loop():
            return False
        await self._answer_to(getattr(transaction, how)())
        return True

    async def _answer_to(self, operation: Awaitable[Any]) -> Any:
        self._operations += 1
        try:
            return await operation
        except _GIVEN_UP:
            self._gave_up = True
            raise
        finally:
            self._operations -= 1

    def _forget_statements(self) -> None:
        if self.wire is not None:
            self.wire.forget_statements()

    @property
    def _is_at_work(self) -> bool:
        return self._gave_up or self._operations > 0

    def settle(self) -> None:
        """Roll back what a test left open."""
        wire, left_open = self.wire, self.transaction is not None
        if wire is None or not wire.is_open:
            self.transaction = None
        elif left_open or self._is_at_work:
            self.give_back()
        elif wire.is_in_transaction and not _rolls_back(wire):
            self.drop()

    def abandon(self) -> bool:
        """Give up the transaction without an event loop; tell whether that could be done."""
        wire = self.wire
        if self.transaction is None or wire is None:
            return True
        if self._is_at_work or not wire.is_open:
            return False
        # asyncpg's connection object goes, because it remembers the transaction.
        wire.detach()
        if not _rolls_back(wire):
            return False
        self.transaction = None
        return True

    def give_back(self) -> None:
        """Let others have the wire, unless a statement is still under way on it."""
        if self._is_at_work or self.wire is None:
            self.drop()
        else:
            wire, self.wire, self.transaction = self.wire, None, None
            self._wires.give_back(wire, self._arguments)

    def drop(self) -> None:
        """Close the wire; the next use opens another."""
        wire, self.wire, self.transaction = self.wire, None, None
        self._operations, self._gave_up = 0, False
        if wire is not None:
            wire.close()


def _rolls_back(wire: AsyncpgWire) -> bool:
    try:
        wire.execute_now("ROLLBACK")
    except OSError:
        return False
    return True
