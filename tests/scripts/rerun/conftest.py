"""Real suites that are run again and again, and a PostgreSQL server for those that keep their own database."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.settings import read_settings
from savepoint_ci.rerun.laboratory import Laboratory

SOURCE = Path(__file__).parents[3] / "fixtures_pkg" / "src"
PLUGINS = ("-p", "asyncio", "-p", "pytest_savepoint.plugin")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    cache = tmp_path_factory.mktemp("cache")
    server = start_server(read_settings(cache, environ={}), cache=cache)
    yield server
    server.stop()
    clean(read_settings(cache, environ={}), cache=cache)


@pytest.fixture
def database(server: Server) -> str:
    """The URL of an empty database."""
    name = f"own_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(server, "postgres", f'create database "{name}"'))
    return server.address.url(name)


async def _execute(server: Server, database: str, sql: str) -> None:
    connection = await asyncpg.connect(**server.address.connect_arguments(database))
    await connection.execute(sql)
    await connection.close()


@pytest.fixture(scope="session")
def make_laboratory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Laboratory]:
    """Make a laboratory for a project of one file, in which nothing is isolated."""

    def make(suite: str) -> Laboratory:
        project, scratch = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("scratch")
        (project / "test_it.py").write_text(suite)
        environment = {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])), "PYTHONPATH": str(SOURCE),
            "SAVEPOINT_ISOLATION": "none", "TZ": "UTC", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }  # fmt: skip
        return Laboratory(
            command=[sys.executable, "-m", "pytest", *PLUGINS], single=[], parallel=None, project=project,
            environment=environment, scratch=scratch, say=lambda ran: None,
        )  # fmt: skip

    return make
