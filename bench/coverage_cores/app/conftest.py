from __future__ import annotations

import os

import httpx
import measured
import pytest
from sqlalchemy import text


@pytest.fixture(autouse=True, params=range(int(os.environ.get("MEASURED_REPEAT", "1"))))
async def tables():
    async with measured.engine.begin() as connection:
        await connection.run_sync(measured.make_tables)
    yield
    async with measured.engine.begin() as connection:
        await connection.execute(text(f"DROP SCHEMA {measured.SCHEMA} CASCADE"))


@pytest.fixture
async def client():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(measured.app), base_url="http://test") as client:
        yield client
