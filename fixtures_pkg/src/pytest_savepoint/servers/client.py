"""The client programs of PostgreSQL, and how they reach a server."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.binaries import client_program

__all__ = ["ClientProgram", "find_client"]


@dataclass(frozen=True)
class ClientProgram:
    """A program such as pg_dump: the beginning of its command, and its environment with the password."""

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)

    async def run(self, *arguments: str) -> str:
        """Run it to its end, and give what it wrote.

        :raises ServerError: with its own words when it fails.
        """
        done = await asyncio.to_thread(
            subprocess.run, [*self.command, *arguments], env=self.environ, stdin=subprocess.DEVNULL, capture_output=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise ServerError(f"{self.command[0]} failed: {said or f'exit code {done.returncode}'}")
        return done.stdout.decode("utf-8", "replace")


def find_client(name: str, address: Address, *, major: int) -> ClientProgram:
    """Give a program of PostgreSQL that speaks with a server.

    :param major: the server's major version; an older program would refuse it.
    :raises ServerError: when this machine has none.
    """
    program = client_program(name, at_least=major)
    if program is None:
        raise ServerError(
            f"This machine has no {name} of PostgreSQL {major} or newer.\n"
            f"Install it (apt-get install postgresql-client-{major}, brew install libpq)."
        )
    host = address.socket_directory or address.host
    reached = ("--no-password", "--host", host, "--port", str(address.port), "--username", address.user)
    # What the caller's shell says of other servers is not for this one.
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    return ClientProgram((str(program), *reached), {**inherited, "PGPASSWORD": address.password.reveal()})
