import pytest
from ferry import Horn, forget_routes

pytest_plugins = ["quay"]


@pytest.fixture
async def load(pool):
    async def load(name):
        return await pool.fetchval("insert into cargo values ($1) returning name", name)

    yield load
    await pool.execute("truncate cargo")


@pytest.fixture
async def horn():
    horn = Horn()
    yield horn
    await horn.idle()


@pytest.fixture
def routes(monkeypatch):
    monkeypatch.setenv("FERRY_ROUTE", "north")
    yield
    forget_routes()
