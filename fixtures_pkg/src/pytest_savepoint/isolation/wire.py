"""What the sandbox needs of a server connection, whichever driver speaks over it."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Wire"]


class Wire(Protocol):
    """The server connection under the sandbox."""

    driver: str
    heard: list[str]
    """What the audit told of commits in this database, by anybody; the reader takes it out."""

    @property
    def is_open(self) -> bool: ...
    @property
    def backend_pid(self) -> int:
        """The server's process for this connection."""
        ...
    @property
    def is_in_transaction(self) -> bool:
        """As the server said with its last answer."""
        ...
    async def connection(self, *, in_transaction: bool) -> Any: ...
    async def execute(self, sql: str) -> None:
        """Run one or more statements of the sandbox, to their end also when the task is cancelled meanwhile."""
        ...
    async def precede(self, sql: str) -> None:
        """Have one or more statements of the sandbox run before the next of the application, if need be at once."""
        ...
    @property
    def refusal(self) -> str:
        """The SQLSTATE with which the server refused what preceded the last statement, or ''."""
        ...
    def execute_now(self, sql: str) -> bool: ...
    def forget_statements(self) -> None: ...
    def close(self) -> None: ...
