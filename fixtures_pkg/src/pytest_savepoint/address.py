"""Where databases are: on a PostgreSQL server, and who we are there; or in a file of SQLite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_savepoint.secret import Secret

__all__ = ["MAINTENANCE_DATABASE", "Address", "SqliteFile"]

# Advisory locks belong to a database, so every run has to take its locks in the same one.
MAINTENANCE_DATABASE = "postgres"


@dataclass(frozen=True)
class Address:
    """A server's address; its repr hides the password."""

    host: str
    port: int
    user: str
    password: Secret
    socket_directory: str | None = None
    tls: bool = False
    """Ask for TLS first, as drivers do by default; our own servers have none and the question costs a round trip."""

    def url(self, database: str, scheme: str = "postgresql+asyncpg") -> str:
        """The address of `database`, over TCP where the server listens there, with the password, percent-encoded, in `scheme`."""
        user, password = quote(self.user, safe=""), quote(self.password.reveal(), safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{user}:{password}" if password else user
        url = f"{scheme}://{login}@{host}:{self.port}/{quote(database, safe='')}"
        # A server that listens on a socket only is reached through the query, which all drivers understand.
        return url if self.host else f"{scheme}://{login}@/{database}?host={self.socket_directory}&port={self.port}"

    def shown(self) -> str:
        """The address for people: host and port, or the socket's folder."""
        return f"{self.host}:{self.port}" if self.host else f"{self.socket_directory} (port {self.port})"

    def connect_arguments(self, database: str) -> dict[str, Any]:
        """What `asyncpg.connect` takes to reach `database`, over the socket when there is one."""
        arguments: dict[str, Any] = {
            "host": self.socket_directory or self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password.reveal() or None,
            "database": database,
        }
        return arguments if self.tls else arguments | {"ssl": False}

    def scrub(self, text: str) -> str:
        """`text` without the password in any of its spellings."""
        password = self.password.reveal()
        for spelling in {password, quote(password, safe=""), quote(password)} - {""}:
            text = text.replace(spelling, "***")
        return text


@dataclass(frozen=True)
class SqliteFile:
    """A database of SQLite in a file, which needs no server."""

    path: Path

    def url(self, scheme: str = "sqlite+aiosqlite") -> str:
        """The address of the file, in `scheme`."""
        return f"{scheme}:///{self.path}"

    def scrub(self, text: str) -> str:
        """`text` as it is: a file has no password."""
        return text
