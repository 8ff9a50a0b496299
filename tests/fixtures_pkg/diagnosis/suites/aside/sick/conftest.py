import httpx
import pytest
from backstage import visit
from fastapi.testclient import TestClient
from theatre import Base, Night, Play, Stage, app, engine, opened, sessions


@pytest.fixture(scope="session", autouse=True)
async def plays():
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions.begin() as session:
        session.add(Play(title="Hamlet", nights=[Night(id=1, seats=9)]))
    yield
    await engine.dispose()


@pytest.fixture
async def session():
    async with sessions() as session:
        yield session


@pytest.fixture
async def connection():
    async with engine.connect() as connection:
        yield connection


@pytest.fixture
async def visitor():
    async with visit() as visitor:
        yield visitor


@pytest.fixture
def browser():
    return TestClient(app)  # SP701


@pytest.fixture
async def open_house():
    async with opened(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://theatre") as client:
            yield client
    del app.state.office


@pytest.fixture
async def stage():
    async with Stage() as stage:  # SP502
        yield stage
