"""Databases of failed tests that outlive their run, so that people can look at them."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from pytest_savepoint.address import Address
from pytest_savepoint.background import Background
from pytest_savepoint.cache import password_file
from pytest_savepoint.databases.names import mark_of, quoted, quoted_text, run_of
from pytest_savepoint.databases.owned import owned_databases
from pytest_savepoint.databases.session import Connection, session
from pytest_savepoint.secret import Secret
from pytest_savepoint.servers.binaries import client_program
from pytest_savepoint.servers.protocol import Server

__all__ = ["KeptDatabase", "give_back", "has_room", "keep"]

_MOST_OF_A_RUN = 10


@dataclass(frozen=True)
class KeptDatabase:
    """A database that stays, and how people reach it; neither text holds the password."""

    name: str
    url: str
    command: str
    """A line for a shell that opens it."""

    @classmethod
    def at(cls, address: Address, name: str, cache: Path) -> KeptDatabase:
        """Describe it, with the password where only psql and its owner read it: in a file of `cache`."""
        url = replace(address, password=Secret("")).url(name, "postgresql")
        psql = "psql" if shutil.which("psql") else str(client_program("psql") or "psql")
        command = [psql, url]
        if address.password:
            _add_password(password_file(cache), address, name)
            command = ["env", f"PGPASSFILE={password_file(cache)}", *command]
        return cls(name, url, shlex.join(command))


def _add_password(path: Path, address: Address, name: str) -> None:
    fields = (address.host or address.socket_directory or "", str(address.port), name, address.user)
    line = ":".join(each.replace("\\", "\\\\").replace(":", "\\:") for each in (*fields, address.password.reveal()))
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "a", encoding="utf-8") as passwords:
        passwords.write(f"{line}\n")


async def has_room(connection: Connection, run_id: str) -> bool:
    """Whether this run may keep one more database."""
    owned = await owned_databases(connection)
    return sum(each.is_kept and run_of(each.name) == run_id for each in owned) < _MOST_OF_A_RUN


async def keep(connection: Connection, name: str, run_id: str, test: str) -> None:
    """Let a clone of this run outlive it.

    :param test: the node id of the test that failed in it, for those who find it.
    """
    await connection.execute(
        f"comment on database {quoted(name)} is {quoted_text(mark_of('kept', run_id, test=test))}"
    )


def give_back(server: Server) -> None:
    """Stop using a server, which runs on when databases are kept on it."""
    # One that does not answer has nothing to look at.
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError), Background() as background:
        if background.call(_has_kept(server.address)):
            server.keep()
    server.stop()


async def _has_kept(address: Address) -> bool:
    async with session(address) as connection:
        return any(each.is_kept for each in await owned_databases(connection))
