import asyncio

import pytest
from ferry import Horn
from harbour import clear_harbour
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

pytest_plugins = ["quay"]
afloat = []


@pytest.fixture
def load(pool):
    async def load(name):
        return await pool.fetchval("insert into cargo values ($1) returning name", name)  # SP507

    return load


@pytest.fixture(scope="module")
async def purser():
    import os

    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.begin() as connection:
        await connection.execute(text("create table purse (coins int)"))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
async def dinghies():
    import os

    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0, pool_timeout=0.1)
    async with engine.begin() as connection:
        await connection.execute(text("create table oar (length int)"))
    yield engine
    afloat.clear()
    await engine.dispose()


@pytest.fixture
async def dinghy(dinghies):
    dinghy = await dinghies.connect()  # SP202
    afloat.append(dinghy)
    return dinghy


@pytest.fixture
async def purse(purser):
    async with purser.connect() as connection:
        outer = await connection.begin()
        maker = async_sessionmaker(connection, join_transaction_mode="control_fully")  # SP504
        async with maker() as session:
            yield session
        if outer.is_active:
            await outer.rollback()


@pytest.fixture(scope="session")
def horn():
    return Horn()


@pytest.fixture
async def own_horn():
    horn = Horn()
    yield horn
    await horn.idle()


@pytest.fixture
async def tide_station():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def cleared(connection):
    await clear_harbour()


@pytest.fixture
def own_loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)  # SP111
