"""Proving a template that was not built by this run: it is built anew beside it, and the two are compared.

Definitions are compared as pg_dump writes them, rows by their number and, for each column, by a sum over the hashes of
its values, which does not depend on their order. What differs between two builds as well, such as times and random
keys, proves nothing and is left out.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.databases.audit import install_audit
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.clone import carried_over, create_empty
from pytest_savepoint.databases.lease import Lease
from pytest_savepoint.databases.names import database_name, quoted
from pytest_savepoint.databases.owned import drop_ours
from pytest_savepoint.databases.schema import Schema
from pytest_savepoint.databases.session import Connection, session
from pytest_savepoint.errors import MigrationError
from pytest_savepoint.servers.client import ClientProgram, find_client

__all__ = ["Proof"]

_SHOWN = 60
# A dump begins and ends with a key made by chance.
_BY_CHANCE = ("\\restrict ", "\\unrestrict ")

_WAY_OUT = (
    "What is built depends on something besides the project's files, such as a variable or the network, or somebody wrote "
    "into the template or its file.\n"
    "`savepoint clean` drops the template; the folder `templates` of the cache holds what template-cache stored."
)

_TABLES = """
select format('%I.%I', n.nspname, c.relname) as name, array(
  select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by 1
) as columns
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
_SEQUENCES = "select format('%I.%I', schemaname, sequencename), last_value from pg_sequences"


@dataclass(frozen=True)
class Proof:
    """What is needed to build a template anew."""

    lease: Lease
    address: Address
    schema: Schema
    builder: Builder

    async def compare(self, database: str, carried: Sequence[str]) -> None:
        """See that `database` holds what the migrations build.

        :param carried: the statements for what PostgreSQL does not copy.
        :raises MigrationError: with the difference, or when it cannot be built anew.
        :raises ServerError: when there is no pg_dump that fits.
        """
        async with self._built("anew") as anew:
            before, after = await self._definitions(database), await self._definitions(anew)
            if before != after:
                before, after = await self._settled(database), await self._settled(anew)
            before += sorted(carried)
            after += sorted(await carried_over(self.lease.connection, anew))
            definitions = list(difflib.unified_diff(before, after, "the template", "built anew", n=1, lineterm=""))
            was, now = await self._contents(database), await self._contents(anew)
        differing = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
        if differing:
            async with self._built("again") as again:
                steady = await self._contents(again)
            differing = [name for name in differing if now.get(name) == steady.get(name)]
        if definitions or differing:
            contents = [f"{name}: {was.get(name)} in the template, {now.get(name)} anew" for name in differing]
            raise MigrationError(_message(self.schema, [*definitions, *contents]))

    @asynccontextmanager
    async def _built(self, purpose: str) -> AsyncIterator[str]:
        async with self._empty(purpose) as name:
            await self.builder.build(self.schema, self.address, name)
            async with session(self.address, name) as inside:
                await install_audit(inside)
            yield name

    @asynccontextmanager
    async def _empty(self, purpose: str) -> AsyncIterator[str]:
        connection, name = self.lease.connection, database_name(self.lease.run_id, purpose)
        await create_empty(connection, name, "clone", self.lease.run_id)
        try:
            yield name
        finally:
            await drop_ours(connection, name)

    async def _definitions(self, database: str) -> list[str]:
        text = await self._program("pg_dump").run("--schema-only", "--dbname", database)
        return [line for line in text.splitlines() if line and not line.startswith(_BY_CHANCE)]

    async def _settled(self, database: str) -> list[str]:
        """Its definitions once they have been dumped and restored, when PostgreSQL may write an expression anew."""
        with tempfile.TemporaryDirectory(prefix="savepoint-") as folder:
            file = str(Path(folder) / "definitions")
            await self._program("pg_dump").run("--schema-only", "--format=custom", "--dbname", database, "--file", file)
            async with self._empty("settled") as name:
                await self._program("pg_restore").run("--exit-on-error", "--dbname", name, file)
                return await self._definitions(name)

    def _program(self, name: str) -> ClientProgram:
        return find_client(name, self.address, major=self.lease.connection.get_server_version().major)

    async def _contents(self, database: str) -> dict[str, str]:
        async with session(self.address, database) as connection:
            found = {f"sequence {name}": str(last) for name, last in await connection.fetch(_SEQUENCES)}
            for table in await connection.fetch(_TABLES):
                found |= await _rows(connection, table["name"], table["columns"])
            return found


async def _rows(connection: Connection, table: str, columns: Sequence[str]) -> dict[str, str]:
    sums = [f'sum(hashtextextended({quoted(column)}::text collate "C", 0)::numeric)' for column in columns]
    question = f"select {', '.join(['count(*)', *sums])} from {table}"  # noqa: S608 # names that the server has quoted
    count, *hashes = await connection.fetchrow(question)
    values = {f"values of {table}.{column}": f"checksum {each}" for column, each in zip(columns, hashes, strict=True)}
    return {f"rows of {table}": str(count), **values}


def _message(schema: Schema, lines: Sequence[str]) -> str:
    more = [f"... and {len(lines) - _SHOWN} lines more"] if len(lines) > _SHOWN else []
    return "\n".join(
        [
            f"The template that was there is not what is built anew now ({schema.note}):",
            *lines[:_SHOWN],
            *more,
            _WAY_OUT,
        ]
    )
