"""The checks of a project's migrations, each on a database of its own; the template is never touched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pytest_savepoint.address import Address
from pytest_savepoint.databases.build import Builder
from pytest_savepoint.databases.clone import create_clones
from pytest_savepoint.databases.names import database_name
from pytest_savepoint.databases.owned import drop_ours
from pytest_savepoint.databases.schema import Schema
from pytest_savepoint.databases.session import session
from pytest_savepoint.databases.spare import CloneSource
from pytest_savepoint.errors import MigrationError

__all__ = ["Applied", "MigrationChecks"]

_EMPTY = "template0"
_BY_STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)


@dataclass(frozen=True)
class Applied:
    """A new revision that was applied: the seconds it took, and the strongest lock on each table that was there before."""

    revision: str
    path: str
    seconds: float
    locks: Mapping[str, str]

    def __str__(self) -> str:
        held = ", ".join(f"{mode} on {table}" for table, mode in self.locks.items()) or "no lock on a table that was there"
        return f"{self.path}: {self.seconds:.2f} s, {held}"


class MigrationChecks:
    """Asks the caller's Alembic, in the caller's environment, on the server of this run."""

    def __init__(self, schema: Schema, builder: Builder, address: Address, source: CloneSource, worker: str) -> None:
        self._schema = schema
        self._builder = builder
        self._address = address
        self._source = source
        self._worker = worker

    async def one_head(self) -> None:
        """See that there is exactly one head.

        :raises MigrationError: with the heads and their files.
        """
        async with self._database("head", _EMPTY) as name:
            heads = await self._ask("heads", name)
        if len(heads) != 1:
            listed = "\n".join(f"  {head} ({path})" for head, path in heads.items()) or "  none"
            raise MigrationError(
                f"Alembic has {len(heads)} heads, so `alembic upgrade head` does not know where to go:\n{listed}\n"
                "Two branches added a revision to the same one. Run `alembic merge heads`, or change down_revision of the "
                "newer one."
            )

    async def down_and_up(self) -> list[str]:
        """Apply each revision, take it back and apply it again; give the files of those that cannot be taken back.

        :raises MigrationError: with the revision's own traceback.
        """
        async with self._database("stairs", _EMPTY) as name:
            try:
                return list((await self._ask("stairs", name))["irreversible"])
            except MigrationError as error:
                raise MigrationError(
                    f"{error}\n\nEach revision is applied, taken back and applied again. If one cannot be taken back, let "
                    "its downgrade() raise NotImplementedError, or write irreversible = True in its file."
                ) from None

    async def drift(self) -> str:
        """See that the migrations make what the models say; give the reason when nobody can tell, else nothing.

        :raises MigrationError: with the operations that a new revision would need.
        """
        async with self._database("drift", self._source.template) as name:
            async with session(self._address, name) as connection:
                await connection.execute("drop schema if exists savepoint cascade")
            answer = await self._ask("drift", name)
        if "missing" in answer:
            raise MigrationError(
                "The models say something that the migrations do not do. What is missing:\n"
                f"{answer['missing']}\n"
                "Run `alembic revision --autogenerate`, read what it wrote, and commit it; or change the models."
            )
        return str(answer.get("unknown", ""))

    async def apply_new(self, files: tuple[str, ...], seed: str) -> list[Applied]:
        """Apply the new revisions, one after the other, to the schema of the base branch with data.

        :param files: their files, from the project's folder.
        :param seed: a command that puts data into the schema of the base branch; empty leaves what migrations put there.
        :raises MigrationError: with the revision's own traceback, or the seed's output.
        """
        async with self._database("new", _EMPTY) as name:
            new = await self._ask("base", name, files=[str(self._schema.project / file) for file in files])
            if seed:
                await self._builder.run(seed, self._schema, self._address, name, called="migration-seed")
            return [await self._apply(name, each["revision"], each["path"]) for each in new]

    async def _apply(self, database: str, revision: str, path: str) -> Applied:
        async with session(self._address, database) as connection:
            before = {row[0] for row in await connection.fetch("select oid::bigint from pg_class")}
        answer = await self._ask("apply", database, revision=revision)
        locks: dict[str, str] = {}
        for oid, table, mode in answer["locks"]:
            if oid in before and _strength(mode) > _strength(locks.get(table, "")):
                locks[table] = mode
        return Applied(revision, path, answer["seconds"], locks)

    async def _ask(self, question: str, database: str, **asked: Any) -> Any:
        return await self._builder.ask(question, self._schema, self._address, database, **asked)

    @asynccontextmanager
    async def _database(self, purpose: str, template: str) -> AsyncIterator[str]:
        name = database_name(self._source.run_id, f"{self._worker}_{purpose}")
        carried = () if template == _EMPTY else self._source.carried
        await create_clones(self._address, template, carried, [name], self._source.run_id)
        try:
            yield name
        finally:
            async with session(self._address) as connection:
                await drop_ours(connection, name)


def _strength(mode: str) -> int:
    return _BY_STRENGTH.index(mode) if mode in _BY_STRENGTH else -1
