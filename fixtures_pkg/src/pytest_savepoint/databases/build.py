"""Building a schema in the caller's environment, and saying what failed there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from pytest_savepoint.address import Address, SqliteFile
from pytest_savepoint.databases.handover import OWN_VARIABLE, database_variables, known_scheme
from pytest_savepoint.databases.schema import Schema
from pytest_savepoint.databases.session import session
from pytest_savepoint.errors import MigrationError
from pytest_savepoint.settings import Settings

__all__ = ["Builder"]

_CHILD = Path(__file__).with_name("build_child.py")
_OUTPUT_LINES = 40
_NOT_BUILT = "The template could not be built"

_HAS_TABLES = """
select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'S') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast'))
"""


@dataclass(frozen=True)
class _Ended:
    """How a process ended and what it said."""

    exit_code: int
    output: str


@dataclass(frozen=True)
class Builder:
    """The caller's environment: settings, interpreter, variables."""

    settings: Settings
    python: str
    environ: Mapping[str, str]

    async def build(self, schema: Schema, address: Address | SqliteFile, database: str) -> None:
        """Build `schema` in the empty `database`, whose name is of no matter in a file.

        :raises MigrationError: with the caller's own traceback and the revision, without passwords.
        """
        if schema.source == "none":
            return
        if schema.source == "command":
            await self.run(schema.parameter, schema, address, database, called="migrate-command")
        elif await self._run_child({"work": schema.source}, schema, address, database, _NOT_BUILT):
            await self._refuse_emptiness(schema, address, database)

    async def ask(self, question: str, schema: Schema, address: Address, database: str, **asked: Any) -> Any:
        """Put one of `migrations.questions` to the caller's Alembic, about `database`.

        :param asked: what the question needs.
        :raises MigrationError: with the caller's own traceback and the revision, without passwords.
        """
        job = {"work": "question", "question": question, **asked}
        return await self._run_child(job, schema, address, database, "The migrations failed")

    async def _run_child(
        self, work: dict[str, Any], schema: Schema, address: Address | SqliteFile, database: str, failed: str
    ) -> Any:
        with tempfile.TemporaryDirectory(prefix="savepoint-") as folder:
            result = Path(folder) / "result.json"
            job = self._job(schema, address, database, result) | work
            done = await self._run([self.python, str(_CHILD)], schema, address, database, text=json.dumps(job))
            answer = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
        if "answer" not in answer:
            raise MigrationError(self._scrubbed(f"{failed}{_failure(schema, answer, done)}", address))
        return answer["answer"]

    def _job(self, schema: Schema, address: Address | SqliteFile, database: str, result: Path) -> dict[str, Any]:
        names = self.settings.database_url_env
        job = {"parameter": schema.parameter, "project": str(schema.project), "result": str(result)}
        if isinstance(address, SqliteFile):
            return job | {"sqlite": str(address.path), "url": address.url(), "free_variables": names}
        return job | {
            "database": database,
            "address": {**asdict(address), "password": address.password.reveal()},
            "url": address.url(database),
            "free_variables": [name for name in names if not known_scheme(name, self.environ, schema.project)],
        }

    async def run(
        self, command: str, schema: Schema, address: Address | SqliteFile, database: str, *, called: str
    ) -> None:
        """Run a command line of the project's with the URL of `database` in its environment.

        :param called: the setting that it comes from.
        :raises MigrationError: with its output, without passwords, when it fails.
        """
        done = await self._run(command, schema, address, database)
        if done.exit_code:
            raise MigrationError(
                self._scrubbed(
                    f"The {called} ended with exit code {done.exit_code}.\n"
                    f"{_tail(done.output)}\n"
                    f"It ran in {schema.project} with the database's URL in "
                    f"{', '.join((*self.settings.database_url_env, OWN_VARIABLE))}.",
                    address,
                )
            )

    async def _run(
        self, command: list[str] | str, schema: Schema, address: Address | SqliteFile, database: str, *, text: str = ""
    ) -> _Ended:
        variables = database_variables(address, database, self.settings.database_url_env, self.environ, schema.project)
        programs = f"{Path(self.python).parent}{os.pathsep}{self.environ.get('PATH', '')}"
        environ = {**self.environ, **variables, "PATH": programs, "PYTHONIOENCODING": "utf-8"}
        # Files, not pipes: a program that the migrations leave behind would hold a pipe open and us with it.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as given, tempfile.TemporaryFile() as said:
            given.write(text)
            given.seek(0)
            process = _start(command, schema.project, environ, given, said)
            try:
                exit_code = await asyncio.to_thread(process.wait)
            except asyncio.CancelledError:
                _end(process)
                raise
            said.seek(0)
            return _Ended(exit_code, said.read().decode("utf-8", "replace"))

    async def _refuse_emptiness(self, schema: Schema, address: Address | SqliteFile, database: str) -> None:
        if await _has_tables(address, database):
            return
        raise MigrationError(
            f"Alembic ran ({schema.parameter}), but no table arrived in the template: env.py connects to another "
            "database, without SQLAlchemy's engines.\n"
            "Set database-url-env to the variable from which env.py takes its URL."
        )

    def _scrubbed(self, text: str, address: Address | SqliteFile) -> str:
        text = address.scrub(text)
        for name in self.settings.database_url_env:
            password = _password(self.environ.get(name, ""))
            for spelling in {password, unquote(password)} - {""}:
                text = text.replace(f":{spelling}@", ":***@")
        return text


async def _has_tables(address: Address | SqliteFile, database: str) -> bool:
    if isinstance(address, SqliteFile):
        with contextlib.closing(sqlite3.connect(address.path)) as file:
            return bool(file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    async with session(address, database) as connection:
        return bool(await connection.fetchval(_HAS_TABLES))


def _start(
    command: list[str] | str, folder: Path, environ: Mapping[str, str], given: IO[str], said: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        shell=isinstance(command, str),  # the project's own command line, as in its Makefile
        cwd=folder,
        env=environ,
        stdin=given,
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was interrupted, with the programs that it started; its database is dropped anyway."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _failure(schema: Schema, answer: Mapping[str, Any], done: _Ended) -> str:
    if not answer:
        return (
            f": the interpreter ended with exit code {done.exit_code} before it "
            f"could say why ({schema.note}).\n{_tail(done.output)}"
        )
    revision = f": revision {answer['revision']} failed" if answer["revision"] else f" ({schema.note} failed)"
    parts = [f"{revision}.", answer["error"], "", answer["traceback"].strip()]
    if done.output.strip():
        parts += ["", "Its output:", _tail(done.output)]
    return "\n".join(parts)


def _tail(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-_OUTPUT_LINES:])


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""
