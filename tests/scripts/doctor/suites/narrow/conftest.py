import asyncio
import datetime

import aiosqlite
import anyio
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from store import engine, region
from web import app, current_user


@pytest_asyncio.fixture(scope="module")  # SP109
async def catalogue():
    return {}


@pytest.fixture
def in_asia():
    region.set("asia")  # SP703


@pytest.fixture
def as_boss():
    app.dependency_overrides[current_user] = lambda: "boss"  # SP702


@pytest_asyncio.fixture
async def ticker():
    async with anyio.create_task_group() as group:  # SP502
        yield group


@pytest_asyncio.fixture
async def old_client():
    async with httpx.AsyncClient(app=app, base_url="http://t") as client:  # SP705
        yield client


@pytest_asyncio.fixture
async def client():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:  # SP701
        yield client


@pytest_asyncio.fixture
async def cache():
    return await aiosqlite.connect(":memory:")  # SP408
