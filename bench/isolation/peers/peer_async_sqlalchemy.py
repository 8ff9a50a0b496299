"""pytest-async-sqlalchemy, with what a suite has to add since pytest-asyncio 1.0 took `event_loop` away."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sqla_engine() -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(os.environ["BENCH_DATABASE_URL"])
    yield engine
    await engine.dispose()


@pytest.fixture
def session(db_session: AsyncSession) -> AsyncSession:
    return db_session
