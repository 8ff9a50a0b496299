"""The example shop's fixtures as a project writes them by hand after the guides, to be measured against.

A database per xdist worker, migrated once; an engine with NullPool and an outer transaction per test; every session of
the application joined to that one connection by `create_savepoint`; `get_db` overridden with the test's session.

Run it in `examples/shop` with this folder on PYTHONPATH:

    BENCH_SERVER_URL=postgresql://user@host/postgres pytest -p no:savepoint -p handwritten_fixtures
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

_SERVER = make_url(os.environ["BENCH_SERVER_URL"]).set(drivername="postgresql")
_NAME = f"handwritten_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{uuid4().hex[:8]}"
_URL = _SERVER.set(drivername="postgresql+asyncpg", database=_NAME).render_as_string(hide_password=False)
os.environ["DATABASE_URL"] = _URL

# What these fixtures cannot serve: sessions that are gathered over the one connection, an engine of the application
# itself, and sessions of the application in tests that ask for no fixture.
_BEYOND_REACH = (
    "test_concurrency.py",
    "::test_concurrent_",
    "::test_every_door_leads_to_one_database",
    "::test_row_committed_by_the_application_is_gone_after_the_test",
    "::test_two_sessions_of_the_application_take_turns",
)


@dataclass(frozen=True)
class Database:
    name: str
    url: str


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    beyond = [item for item in items if any(part in item.nodeid for part in _BEYOND_REACH)]
    items[:] = [item for item in items if item not in beyond]
    config.hook.pytest_deselected(items=beyond)


async def _on_server(statement: str) -> None:
    connection = await asyncpg.connect(_SERVER.render_as_string(hide_password=False))
    await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    from alembic import command  # noqa: PLC0415 # after the URL is in the environment
    from alembic.config import Config  # noqa: PLC0415

    asyncio.run(_on_server(f'CREATE DATABASE "{_NAME}"'))
    command.upgrade(Config("alembic.ini"), "head")
    yield Database(_NAME, _URL)
    asyncio.run(_on_server(f'DROP DATABASE "{_NAME}" WITH (FORCE)'))


@pytest_asyncio.fixture
async def db_engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database.url, poolclass=NullPool)
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture
async def db_connection(db_engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with db_engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()


@pytest_asyncio.fixture
async def db_session(db_connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    from app.database import engine, session_factory  # noqa: PLC0415 # after the URL is in the environment

    session_factory.configure(bind=db_connection, join_transaction_mode="create_savepoint")
    session = AsyncSession(db_connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
    async with session:
        yield session
    session_factory.configure(bind=engine, join_transaction_mode="conditional_savepoint")


@pytest_asyncio.fixture
async def client(db_session: AsyncSession) -> AsyncIterator[httpx.AsyncClient]:
    from app.database import get_db  # noqa: PLC0415 # after the URL is in the environment
    from app.main import app  # noqa: PLC0415

    async def override() -> AsyncIterator[Any]:
        yield db_session

    app.dependency_overrides[get_db] = override
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client
    app.dependency_overrides.clear()
