import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager

from kitchen import engine, language
from shop import app, current_user


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def prices():
    return {"soup": 3}


@pytest.fixture
def in_french():
    token = language.set("fr")
    yield
    language.reset(token)


@pytest.fixture
def as_cook(monkeypatch):
    monkeypatch.setitem(app.dependency_overrides, current_user, lambda: "cook")


@pytest.fixture
def as_waiter():
    app.dependency_overrides[current_user] = lambda: "waiter"
    yield
    del app.dependency_overrides[current_user]


@pytest_asyncio.fixture
async def client():
    async with LifespanManager(app), httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        yield client


@pytest_asyncio.fixture
async def connection():
    async with engine.connect() as connection:
        yield connection
