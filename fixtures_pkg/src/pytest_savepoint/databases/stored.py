"""Templates in files of the cache folder, for servers that begin empty: to restore is faster than to migrate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.servers.client import find_client

__all__ = ["StoredTemplate"]

_KEPT_FILES = 8


@dataclass(frozen=True)
class StoredTemplate:
    """The file of one template.

    :param major: the server's major version.
    """

    folder: Path
    fingerprint: str
    address: Address
    major: int

    @property
    def file(self) -> Path:
        """Where it is, or would be."""
        return self.folder / f"{self.fingerprint}.dump"

    async def restore(self, database: str) -> bool:
        """Fill the empty `database`; False when nothing was stored.

        :raises ServerError: when it cannot be restored; the database is empty then.
        """
        if not self.file.exists():
            return False
        program = find_client("pg_restore", self.address, major=self.major)
        await program.run("--exit-on-error", "--single-transaction", "--dbname", database, str(self.file))
        os.utime(self.file)
        return True

    async def store(self, database: str) -> None:
        """Write what `database` holds; the eight files that were used last stay.

        :raises ServerError: when it cannot be written.
        """
        program = find_client("pg_dump", self.address, major=self.major)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(f".{os.getpid()}")
        try:
            await program.run("--format=custom", "--dbname", database, "--file", str(unfinished))
            unfinished.replace(self.file)
        finally:
            unfinished.unlink(missing_ok=True)
        newest_first = sorted(self.folder.glob("*.dump"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest_first[_KEPT_FILES:]:
            path.unlink(missing_ok=True)
