"""A PostgreSQL server for suites that keep their own database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import asyncpg
import pytest
from pytest_savepoint.databases.clean import clean
from pytest_savepoint.servers import Server, start_server
from pytest_savepoint.settings import read_settings


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
