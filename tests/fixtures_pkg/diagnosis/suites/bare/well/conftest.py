import pytest
from ferry import Horn, Log, forget_routes, open_pool


@pytest.fixture(scope="session")
async def pool():
    pool = await open_pool()
    yield pool
    pool.terminate()


@pytest.fixture
async def connection(pool):
    async with pool.acquire() as connection:
        yield connection


@pytest.fixture
async def load(pool):
    async def load(name):
        return await pool.fetchval("insert into cargo values ($1) returning name", name)

    yield load
    await pool.execute("truncate cargo")


@pytest.fixture(scope="session")
async def log():
    log = Log()
    worker = log.start()
    yield log
    worker.cancel()


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
