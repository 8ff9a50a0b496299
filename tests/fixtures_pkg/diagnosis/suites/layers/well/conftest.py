import os
import time

import httpx
import pytest
import pytest_asyncio
from acting import speak
from garden.db import URL, Base, engine, new_session
from garden.water import Spring
from garden.web import app, language
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import create_async_engine

os.environ["TZ"] = "America/New_York"
time.tzset()


@pytest_asyncio.fixture(scope="session", autouse=True)
async def tables():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


@pytest_asyncio.fixture
async def client():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://garden") as client:
        yield client
    app.dependency_overrides.clear()
    async with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            await connection.execute(delete(table))


@pytest_asyncio.fixture
async def session():
    async with new_session() as session:
        yield session


@pytest.fixture
def french():
    token = speak("fr")
    yield
    language.reset(token)


class Ground:
    spring = None


@pytest.fixture
def bucket(spring):
    drawn = []
    yield drawn
    drawn.append(Ground.spring.draw())


@pytest.fixture
def spring():
    Ground.spring = Spring()
    yield Ground.spring
    Ground.spring.open = False


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def greenhouse():
    engine = create_async_engine(URL)
    async with engine.connect():
        pass
    yield engine
    await engine.dispose()


@pytest.fixture
def leaking_bucket(lake):
    yield
    lake.draw()


@pytest.fixture
def lake():
    """Nothing is closed in its teardown, for it has none."""
    lake = Spring()
    lake.open = False
    return lake


@pytest.fixture
def gong(bell):
    return bell
