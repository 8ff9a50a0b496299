"""Emptying the tables that a test has written to, in one round trip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_savepoint.databases.audit import Commit
from pytest_savepoint.databases.sequences import SequenceState, read_sequences
from pytest_savepoint.databases.session import Connection

__all__ = ["Tables"]

_SECONDS_FOR_A_LOCK = 2

_TABLES = """
select c.oid::bigint as oid, format('%I.%I', n.nspname, c.relname) as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
and not c.relispartition
"""

_REFERENCES = """
select distinct conrelid::bigint as child, confrelid::bigint as parent from pg_constraint
where contype = 'f' and conrelid <> confrelid
"""

_PARTITIONS = "select inhrelid::bigint as part, inhparent::bigint as whole from pg_inherits"


@dataclass(frozen=True)
class Tables:
    """The tables of a clone as the template has them."""

    names: dict[int, str]
    filled: frozenset[int]
    """Those in which the template has rows already, so that emptying them is not going back."""
    references: tuple[tuple[int, int], ...]
    """Child and parent of each foreign key."""
    whole_of: dict[int, int]
    """The table that a partition is a part of."""
    sequences: tuple[SequenceState, ...]
    ignores_references: bool
    """The role may switch triggers and foreign keys off, so that no order is needed and none of the project's runs."""

    @classmethod
    async def read(cls, connection: Connection) -> Tables:
        """Read what a fresh clone has; the connection leads to one."""
        names = {row["oid"]: row["name"] for row in await connection.fetch(_TABLES)}
        probes = [f"select {oid}::bigint where exists (select from {name})" for oid, name in names.items()]  # noqa: S608 # quoted by the server
        filled = await connection.fetch(" union all ".join(probes)) if probes else []
        references = [(row["child"], row["parent"]) for row in await connection.fetch(_REFERENCES)]
        return cls(
            names,
            frozenset(row[0] for row in filled),
            tuple(references),
            {row["part"]: row["whole"] for row in await connection.fetch(_PARTITIONS)},
            await read_sequences(connection),
            await connection.fetchval("select current_setting('is_superuser') = 'on'"),
        )

    def cleaning(self, commits: Iterable[Commit]) -> str | None:
        """The SQL that undoes these commits, '' when there is nothing to do.

        :return: None when emptying tables cannot undo it: rows of the template were within reach, or it was DDL.
        """
        touched: set[int] = set()
        for commit in commits:
            oid = commit.oid
            while oid in self.whole_of:
                oid = self.whole_of[oid]
            if oid not in self.names or oid in self.filled:
                return None
            touched.add(oid)
        if not touched:
            return ""
        limit = f"SET LOCAL lock_timeout = '{_SECONDS_FOR_A_LOCK}s'"
        return "; ".join(["BEGIN", limit, *self._emptying(touched), "COMMIT"])

    def _emptying(self, touched: set[int]) -> list[str]:
        if self.ignores_references:
            order: list[int] | None = sorted(touched)
            switch_off = ["SET LOCAL session_replication_role = replica"]
        else:
            order, switch_off = self._children_first(touched), []
        if order is None:
            # Slower by far, since it makes new files, but it looks at all of them at once.
            return [f"TRUNCATE {', '.join(self.names[oid] for oid in sorted(touched))}"]
        return [*switch_off, *(f"DELETE FROM {self.names[oid]}" for oid in order)]  # noqa: S608 # quoted by the server

    def _children_first(self, touched: set[int]) -> list[int] | None:
        waiting = set(touched)
        order: list[int] = []
        while waiting:
            free = [
                oid
                for oid in sorted(waiting)
                if not any(parent == oid and child in waiting for child, parent in self.references)
            ]
            if not free:
                return None  # tables that refer to each other in a circle
            order += free
            waiting.difference_update(free)
        return order
