"""One authenticated asyncpg connection that is handed from event loop to event loop.

A new asyncpg connection costs milliseconds, and tests with a loop each would pay that for every test, or lose what
they wrote when a loop ends in mid-test. So the socket is kept, and on each loop a fresh asyncpg protocol is built
over it: its start-up message is swallowed and answered from what the server said the first time.
This leans on names inside asyncpg, which `probe` checks before they are relied upon.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

import asyncpg
from asyncpg import protocol as asyncpg_protocol
from asyncpg.prepared_stmt import PreparedStatement

from pytest_savepoint.databases.audit import CHANNEL
from pytest_savepoint.isolation.ahead import Ahead
from pytest_savepoint.isolation.messages import message, whole
from pytest_savepoint.isolation.socket_transport import SocketTransport
from pytest_savepoint.isolation.whole import Whole

__all__ = ["AsyncpgWire"]

# What asyncpg reads of the parameters that a server reports at start-up.
_PARAMETERS = (
    "client_encoding",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "integer_datetimes",
    "is_superuser",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "in_hot_standby",
    "default_transaction_read_only",
    "application_name",
)
_TRANSACTION_STATUS = {False: b"I", True: b"T"}


class _First(asyncpg.Connection):  # type: ignore[misc]
    """The connection that is opened for a wire, before the wire has it: nobody's but the sandbox's."""

    belongs_to_no_loop = True
    __slots__ = ()


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """An asyncpg connection whose look-ups of types are remembered by the wire, because a new loop starts with none."""

    belongs_to_no_loop = True
    __slots__ = ("ahead", "heard", "types")
    ahead: Ahead
    types: dict[Any, Any]
    heard: list[str]

    def __del__(self) -> None:
        """Say nothing of an unclosed connection: the wire owns the socket, and this object ends with its loop."""

    def _process_notification(self, pid: int, channel: str, payload: str) -> None:
        if channel == CHANNEL:
            self.heard.append(payload)
        else:
            super()._process_notification(pid, channel, payload)

    async def _cancel(self, *waiters: Any) -> None:
        # The server cancels whatever it is at, and that must not be the sandbox's own statement.
        await self.ahead.answered()
        await super()._cancel(*waiters)

    async def _introspect_types(self, typeoids: Any, timeout: Any) -> Any:
        key = tuple(sorted(typeoids))
        if key not in self.types:
            self.types[key] = await super()._introspect_types(typeoids, timeout)
        return self.types[key]

    async def _introspect_type(self, typename: str, schema: str) -> Any:
        key = (schema, typename)
        if key not in self.types:
            self.types[key] = await super()._introspect_type(typename, schema)
        return self.types[key]


class AsyncpgWire:
    """The socket, what the server said at start-up, and the asyncpg connection over it on the present loop."""

    driver = "asyncpg"

    def __init__(self, sock: socket.socket, first: asyncpg.Connection, *, always_in_transaction: bool) -> None:
        self._sock = sock
        self._origin = first
        self._always_in_transaction = always_in_transaction
        self._types: dict[Any, Any] = {}
        self._codecs: dict[tuple[str, str], dict[str, Any]] = {}
        settings = first.get_settings()
        parameters = [(name, getattr(settings, name)) for name in _PARAMETERS if hasattr(settings, name)]
        self._greeting = b"".join(
            [
                message(b"R", struct.pack("!i", 0)),
                *(message(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters),
                message(b"K", _backend_key(first)),
            ]
        )
        self.loop: asyncio.AbstractEventLoop | None = None
        self._transport: SocketTransport | None = None
        self._connection: asyncpg.Connection | None = None
        self._statements: dict[str, Any] = {}
        self._prepared: dict[str, Any] = {}  # what asyncpg knows of each statement on the server, for every loop
        self._outdated = False
        self._was_in_transaction = False
        """When it left its last loop, and after what was run with no loop at all."""
        self._ahead = Ahead()
        self.heard: list[str] = []

    @classmethod
    async def open(
        cls, arguments: dict[str, Any], *, first_words: str = "", always_in_transaction: bool = False
    ) -> AsyncpgWire:
        """Connect on the running loop.

        :param arguments: what `asyncpg.connect` takes.
        :param first_words: SQL to run once, for the life of the connection.
        :param always_in_transaction: whoever uses it has opened a transaction as text, of which asyncpg knows nothing.
        :raises OSError, asyncpg.PostgresError: as `asyncpg.connect` does.
        """
        first = await asyncpg.connect(**{**arguments, "ssl": False, "connection_class": _First})
        if first_words:
            await first.execute(first_words)
        transport = first._transport
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        sock.setblocking(False)
        wire = cls(sock, first, always_in_transaction=always_in_transaction)
        # Aborting closes asyncio's own descriptor without a Terminate message; the duplicate stays connected.
        transport.abort()
        return wire

    @property
    def is_open(self) -> bool:
        return self._sock.fileno() != -1

    @property
    def backend_pid(self) -> int:
        """The server's process for this connection."""
        return int(self._origin.get_server_pid())

    @property
    def is_in_transaction(self) -> bool:
        """As the server said with its last answer, which what is still unsent may follow."""
        if self._connection is None:
            return self._was_in_transaction
        return self._ahead.waits or self._connection._protocol.is_in_transaction()

    @property
    def present(self) -> asyncpg.Connection | None:
        """The asyncpg connection of the loop that used it last."""
        return self._connection

    async def connection(self, *, in_transaction: bool) -> asyncpg.Connection:
        """The asyncpg connection for the running loop, moved here if it was on another.

        :param in_transaction: whether a transaction is open on the server.
        """
        loop = asyncio.get_running_loop()
        if self.loop is loop and self._connection is not None:
            return self._connection
        self.detach()
        origin = self._origin
        started: asyncio.Future[Any] = loop.create_future()
        protocol = asyncpg_protocol.Protocol(origin._addr, started, origin._params, asyncpg.Record, loop)
        transport = SocketTransport(self._sock, protocol, loop, self._ahead)
        protocol.connection_made(transport)
        protocol.data_received(self._greeting + message(b"Z", _TRANSACTION_STATUS[in_transaction]))
        await started
        connection = _Connection(protocol, transport, loop, origin._addr, origin._config, origin._params)
        connection.types = self._types
        connection.heard = self.heard
        connection.ahead = self._ahead
        if self._always_in_transaction:
            # asyncpg refuses cursors outside of a transaction object of its own.
            connection._top_xact = connection.transaction()
        protocol.set_connection(connection)
        transport.attach()
        self.loop, self._transport, self._connection = loop, transport, connection
        for codec in self._codecs.values():
            await connection.set_type_codec(**codec)
        if self._outdated and not in_transaction:
            # Only here, where asyncpg's new connection object counts on no statement yet.
            self._prepared.clear()
            await connection.execute("DEALLOCATE ALL")
            self._outdated = False
        return connection

    async def set_type_codec(self, connection: asyncpg.Connection, codec: dict[str, Any]) -> None:
        """Set a codec on this loop's connection and on every later one; a repeated codec costs nothing."""
        key = (codec.get("schema", "public"), codec["typename"])
        known = self._codecs.get(key)
        if known is not None and known.get("format") == codec.get("format") and key[0] == "pg_catalog":
            return
        await connection.set_type_codec(**codec)
        self._codecs[key] = codec

    async def precede(self, sql: str) -> None:
        """Have one or more statements run before the next, in one round trip with it."""
        self._ahead.add(sql)

    @property
    def refusal(self) -> str:
        """The SQLSTATE with which the server refused what preceded the last statement, or ''."""
        return self._ahead.refusal

    async def execute(self, sql: str) -> None:
        """Run one or more statements without parameters on the present loop's connection, whatever is cancelled."""
        if self._connection is not None:
            await Whole(self._connection.execute(sql))

    async def prepared(self, query: str) -> Any:
        """The prepared statement of a text, shared by every session; the server prepares it once for all loops."""
        statement = self._statements.get(query)
        if statement is None and self._connection is not None:
            if query in self._prepared:
                statement = PreparedStatement(self._connection, query, self._prepared[query])
            else:
                statement = await self._connection.prepare(query)
                # One user more than asyncpg counts, or it would close the statement with this loop's connection.
                statement._state.attach()
                self._prepared[query] = statement._state
            self._statements[query] = statement
        return statement

    def known_statement(self, query: str) -> Any | None:
        """The prepared statement of a text, if this loop has one already."""
        return self._statements.get(query) if self.loop is asyncio.get_running_loop() else None

    def forget_statements(self) -> None:
        """Prepare statements and look up types again, after DDL."""
        self._types.clear()
        for state in self._prepared.values():
            state.detach()
            # asyncpg closes those that this loop has used.
            self._outdated = self._outdated or not state.refs
        self._prepared.clear()
        self._statements.clear()

    def detach(self) -> None:
        """Leave the loop; the server connection and its transaction stay as they are."""
        if self._transport is not None:
            self._transport.detach()
        if self._connection is not None:
            self._was_in_transaction = self._connection._protocol.is_in_transaction()
            # Statements of asyncpg's own, which nobody would close.
            self._outdated = self._outdated or len(self._connection._stmt_cache) > 0
        self._statements.clear()
        self.loop = self._transport = self._connection = None

    def execute_now(self, sql: str, *, seconds: float = 5.0) -> bool:
        """Run one simple query by blocking on the socket, with no event loop at all; tell whether it had no error.

        Only when no operation is under way. Used between tests, where the loop of the last test may be closed.

        :param seconds: how long the server may take.
        :raises OSError: the server did not answer in time or closed the connection; the wire is closed then.
        """
        if self._ahead.is_under_way or (self._transport is not None and self._transport.has_unsent):
            self.close()
            raise ConnectionError("bytes of an unfinished statement were left on the connection")
        try:
            self._sock.settimeout(seconds)
            self._sock.sendall(message(b"Q", self._ahead.joined(sql).encode() + b"\0"))
            succeeded = self._read_until_ready()
            self._sock.setblocking(False)
        except OSError:
            self.close()
            raise
        return succeeded

    def _read_until_ready(self) -> bool:
        buffer = bytearray()
        succeeded = True
        while True:
            for kind, answer in whole(buffer):
                if kind == b"Z":
                    self._was_in_transaction = answer[5:] != b"I"
                    return succeeded
                if kind == b"A":
                    channel, payload, _ = answer[9:].decode().split("\0")
                    if channel == CHANNEL:
                        self.heard.append(payload)
                succeeded = succeeded and kind != b"E"
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection between two tests")
            buffer += data

    def close(self) -> None:
        """Close the socket; the server rolls back what was open."""
        self.detach()
        self._sock.close()

    def __del__(self) -> None:
        # An engine that a test made and dropped is no fault that Python should warn of.
        self._sock.close()


def _backend_key(connection: asyncpg.Connection) -> bytes:
    secret = connection._protocol.backend_secret
    packed: bytes = secret if isinstance(secret, bytes) else struct.pack("!i", secret)
    return struct.pack("!i", connection._protocol.backend_pid) + packed
