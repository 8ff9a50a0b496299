from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from programs import path_with_postgresql
from pytest_savepoint.address import Address
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.databases.run import DatabaseRun
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.settings import read_settings

ASYNC_ENV = """
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def upgrade(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(URL)
    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        await connection.commit()
    await engine.dispose()

asyncio.run(main())
"""

SYNC_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

with create_engine(URL).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

_ENVIRONMENTS = {"async": ASYNC_ENV, "sync": SYNC_ENV}

REVISION = """
import sqlalchemy as sa
from alembic import op
{head}
revision = "{revision}"
down_revision = {down}

def upgrade():
    {body}
"""


class Project:
    """A project of the user's, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def alembic(self, env: str, *, url: str = 'os.environ["DATABASE_URL"]', ini_url: str = "driver://") -> None:
        """An `async` or `sync` Alembic environment with two revisions; `url` is the expression by which env.py gets its URL."""
        self.write("alembic.ini", f"[alembic]\nscript_location = migrations\nsqlalchemy.url = {ini_url}\n")
        self.write("migrations/env.py", _ENVIRONMENTS[env].replace("URL", url))
        self.revision("0001", body='op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))')
        self.revision("0002", body='op.execute("insert into users values (1), (2)")', down="0001")

    def revision(self, revision: str, *, body: str, down: str | None = None, head: str = "") -> None:
        text = REVISION.format(revision=revision, body=body, down=repr(down), head=head)
        self.write(f"migrations/versions/{revision}_step.py", text)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache for the tests of this process: initdb is slow."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    clean(read_settings(folder, environ={}), cache=folder)


@pytest.fixture
def postgres_version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The version that a test asks for, whose programs are found; empty takes the machine's newest."""
    version = str(getattr(request, "param", ""))
    if version:
        monkeypatch.setenv("PATH", path_with_postgresql(version))
    return version


@pytest.fixture(scope="session")
def start_one(cache: Path) -> Iterator[Callable[[str], Server]]:
    """Servers by version that live as long as the tests; runs of the tests share them."""
    servers: dict[str, Server] = {}

    def start(version: str) -> Server:
        if version not in servers:
            settings = read_settings(cache, flags={"postgres_version": version}, environ={})
            servers[version] = start_server(settings, cache=cache)
        return servers[version]

    yield start
    for server in servers.values():
        server.stop()


@pytest.fixture
def server(start_one: Callable[[str], Server], postgres_version: str) -> Server:
    return start_one(postgres_version)


@pytest.fixture
def environ(cache: Path, postgres_version: str) -> dict[str, str]:
    """The caller's environment, in which this package is not importable."""
    hidden = ("PYTHONPATH", "DATABASE_URL", "SAVEPOINT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return kept | {"SAVEPOINT_CACHE": str(cache)}


OpenRun = Callable[..., DatabaseRun]


@pytest.fixture
def open_run(project: Project, server: Server, environ: dict[str, str], postgres_version: str) -> Iterator[OpenRun]:
    """Open a run of the project with some settings; it is closed at the end."""
    runs: list[DatabaseRun] = []

    def open_one(**flags: Any) -> DatabaseRun:
        settings = read_settings(project.folder, flags={"postgres_version": postgres_version, **flags}, environ={})
        runs.append(DatabaseRun.open(settings, project.folder, python=sys.executable, environ=environ))
        return runs[-1]

    yield open_one
    for run in runs:
        run.close()


Ask = Callable[..., Any]


@pytest.fixture
def ask(server: Server) -> Ask:
    """Look at a database over a connection of one's own."""

    async def fetch(database: str, question: str, address: Address = server.address) -> Any:
        connection = await asyncpg.connect(**address.connect_arguments(database))
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    return fetch
