"""Dumps of the databases that were kept, for those who cannot reach the server: it ends with the job."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from pytest_savepoint.address import Address
from pytest_savepoint.databases.names import run_of
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.client import find_client

__all__ = ["write_dumps"]

_PIECE = 65_536
_LOCK_WAIT = "60s"


def write_dumps(evidence: Iterable[str], address: Address, folder: Path, *, version: str, most: int) -> Iterator[str]:
    """Write `<database>.sql` for each kept database, and give a sentence for each that cannot be written.

    :param evidence: the lines of the evidence file.
    :param folder: emptied before; made when there is something to write.
    :param version: the server's.
    :param most: the bytes that a dump may have.
    """
    shutil.rmtree(folder, ignore_errors=True)
    names = list(_kept_databases(evidence))
    if not names:
        return
    try:
        program = find_client("pg_dump", address, major=int(version.partition(".")[0]))
    except ServerError as error:
        yield f"No database was dumped. {error}"
        return
    folder.mkdir(parents=True)
    for name in names:
        command = [*program.command, f"--lock-wait-timeout={_LOCK_WAIT}", "--dbname", name]
        fault = _dump(command, program.environ, folder / f"{name}.sql", most)
        if fault:
            (folder / f"{name}.sql").unlink(missing_ok=True)
            yield f"The database {name} was not dumped: {fault}."


def _kept_databases(evidence: Iterable[str]) -> Iterator[str]:
    for line in evidence:
        try:
            name = json.loads(line)["kept"]["name"]
        except (ValueError, KeyError, TypeError):
            continue
        # It becomes the name of a file, and whoever writes evidence may have written anything.
        if isinstance(name, str) and run_of(name):
            yield name


def _dump(command: list[str], environ: Mapping[str, str], path: Path, most: int) -> str:
    """Why there is no dump; empty when there is one."""
    with path.open("wb") as file, path.with_suffix(".said").open("w+b") as said:
        path.with_suffix(".said").unlink()
        with subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process:
            assert process.stdout is not None
            if not _copied(process.stdout, file, most):
                process.kill()
                return f"it has more than {most} bytes, which is what dump-kept allows"
            if process.wait():
                said.seek(0)
                return " ".join(said.read().decode("utf-8", "replace").split()) or f"pg_dump ended with {process.returncode}"
    return ""


def _copied(source: IO[bytes], target: IO[bytes], most: int) -> bool:
    written = 0
    while piece := source.read(_PIECE):
        written += len(piece)
        if written > most:
            return False
        target.write(piece)
    return True
