"""Savepoint, which empties the worker's database in Redis after each test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis


@pytest_asyncio.fixture(scope="session")
async def store() -> AsyncIterator[Redis]:
    async with Redis.from_url(os.environ["REDIS_URL"]) as store:
        yield store
