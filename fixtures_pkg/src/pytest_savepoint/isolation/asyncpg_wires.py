"""The server connections of engines where commits are real, kept when an engine closes them: a new one costs milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_savepoint.databases.audit import OF_A_TEST
from pytest_savepoint.isolation.asyncpg_wire import AsyncpgWire

__all__ = ["IdleWires"]

_MOST = 8
# What a new connection would not have; prepared statements stay, since nobody sees them.
_LIKE_NEW = f"ROLLBACK; RESET ALL; SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; DISCARD TEMP; {OF_A_TEST}"


class IdleWires:
    """Server connections to the database of the running test that no engine uses now."""

    def __init__(self, database: Callable[[], str]) -> None:
        """:param database: names the database of the running test."""
        self._database = database
        self._idle: dict[frozenset[tuple[str, str]], list[AsyncpgWire]] = {}

    async def take(self, arguments: dict[str, Any]) -> AsyncpgWire:
        """A connection that is like new.

        :param arguments: what `asyncpg.connect` takes.
        :raises OSError, asyncpg.PostgresError: as `asyncpg.connect` does.
        """
        idle = self._idle.get(_settings_of(arguments), [])
        while idle:
            wire = idle.pop()
            if wire.is_open:
                return wire
        return await AsyncpgWire.open({**arguments, "database": self._database()}, first_words=OF_A_TEST)

    def give_back(self, wire: AsyncpgWire, arguments: dict[str, Any]) -> None:
        """Keep a connection for the next taker; no statement is under way on it."""
        idle = self._idle.setdefault(_settings_of(arguments), [])
        # What asyncpg's connection object remembers of a transaction must not reach the next taker.
        wire.detach()
        try:
            if len(idle) < _MOST and wire.is_open and wire.execute_now(_LIKE_NEW):
                idle.append(wire)
                return
        except OSError:
            pass
        wire.close()

    def close(self) -> None:
        """Close them all, because the next test has another database."""
        for idle in self._idle.values():
            for wire in idle:
                wire.close()
        self._idle.clear()


def _settings_of(arguments: dict[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset((name, str(value)) for name, value in (arguments.get("server_settings") or {}).items())
