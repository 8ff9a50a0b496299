"""One client, and FLUSHDB after each test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis


@pytest_asyncio.fixture(scope="session")
async def client() -> AsyncIterator[Redis]:
    async with Redis.from_url(os.environ["SAVEPOINT_REDIS_URL"]) as client:
        yield client


@pytest_asyncio.fixture
async def store(client: Redis) -> AsyncIterator[Redis]:
    yield client
    await client.flushdb()
