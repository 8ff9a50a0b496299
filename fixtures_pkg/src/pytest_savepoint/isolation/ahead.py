"""What the sandbox says to the server travels with the application's next statement: a round trip less for each."""

from __future__ import annotations

import asyncio

from pytest_savepoint.isolation.messages import HEADER, message, whole

__all__ = ["Ahead"]

# The kinds of the protocol's messages: told without being asked (notification, notice, parameter), error, ready.
_UNASKED = b"ANS"
_ERROR, _READY = b"E", b"Z"


class Ahead:
    """Statements to be sent before the next, as one simple query, and the answers to them, which are nobody else's."""

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._refused = ""
        self._unread = bytearray()
        self._answered: asyncio.Event | None = None
        self.is_under_way = False
        """They were sent, and the server has not answered yet."""

    @property
    def waits(self) -> bool:
        """Something is here that was not sent."""
        return bool(self._statements)

    def add(self, sql: str) -> None:
        """Have one or more statements run before the next."""
        self._statements.append(sql)

    def joined(self, sql: str) -> str:
        """What waits here and then `sql`, for whoever sends both at once and takes the answers himself."""
        statements, self._statements = self._statements, []
        return "; ".join([*statements, sql])

    def take(self) -> bytes:
        """The query to send before the next message; its answers have to come to `rest_of`."""
        if not self._statements:
            return b""
        self.is_under_way, self._refused = True, ""
        statements, self._statements = self._statements, []
        return message(b"Q", "; ".join(statements).encode() + b"\0")

    def rest_of(self, data: bytes) -> bytes:
        """What is left of the server's bytes for the driver, which never asked for these answers."""
        self._unread += data
        rest = bytearray()
        for kind, answer in whole(self._unread):
            if kind in _UNASKED:
                rest += answer
            elif kind == _ERROR:
                self._refused = _sqlstate(answer)
            elif kind == _READY:
                rest += self._unread
                self._end()
                break
        return bytes(rest)

    def _end(self) -> None:
        self._unread.clear()
        self.is_under_way = False
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    async def answered(self) -> None:
        """Wait until no statement of the sandbox is under way, which a cancellation would hit in place of the next."""
        if self.is_under_way:
            self._answered = self._answered or asyncio.Event()
            await self._answered.wait()

    @property
    def refusal(self) -> str:
        """The SQLSTATE with which the server refused what was sent last, or ''."""
        return self._refused


def _sqlstate(error: bytes) -> str:
    fields = error[HEADER:].split(b"\0")
    return next((field[1:].decode() for field in fields if field[:1] == b"C"), "unknown")
