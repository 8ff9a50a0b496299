"""What every provider and every server of ours can do."""

from __future__ import annotations

from typing import Protocol

from pytest_savepoint.address import Address

__all__ = ["Provider", "Server"]


class Server(Protocol):
    """A server that answers; `reason` says where it came from and why, without a full stop."""

    provider: str
    reason: str
    version: str
    address: Address

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the server's log; empty when the log is not ours to read."""
        ...

    def keep(self) -> None:
        """Let the server live on when nobody uses it any more, for what is on it; `clean` with `kept` ends it."""
        ...

    def stop(self) -> None:
        """Give the server back; it ends when nobody else uses it, unless it is kept."""
        ...


class Provider(Protocol):
    """One way to get a server."""

    name: str
    remedy: str
    """How a person makes this provider possible."""

    def obstacle(self) -> str:
        """Why this provider is not possible here; empty when it is."""
        ...

    def start(self) -> Server:
        """Give a server that answers.

        :raises ServerError: when it did not answer in time, with the end of its log.
        :raises GuardError: when it must not be used.
        """
        ...
