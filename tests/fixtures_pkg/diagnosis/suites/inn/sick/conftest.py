import asyncio
import contextlib
import http.server
import os
import threading
import time

import httpx
import pytest
from inn import Sign, app, build, engine, get_session, hosted_by, pools
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

pytest_plugins = ["anyio.pytest_plugin"]
os.environ["TZ"] = "America/New_York"
time.tzset()


@pytest.fixture(scope="session", autouse=True)
async def rooms():
    await build()
    yield
    await engine.dispose()
    for pool in pools:
        pool.terminate()


@pytest.fixture
async def guest():
    transport = httpx.ASGITransport(app=app)  # SP701
    async with httpx.AsyncClient(transport=transport, base_url="http://inn") as guest:
        yield guest


@pytest.fixture
async def crowd(guest):
    async with AsyncSession(create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)) as session:

        async def shared():  # SP301
            return session

        app.dependency_overrides[get_session] = shared
        yield guest
        app.dependency_overrides.clear()


@pytest.fixture
async def undone():
    async with engine.connect() as connection:
        outer = await connection.begin()  # SP307
        yield connection
        await outer.rollback()


@pytest.fixture
def named(monkeypatch):
    monkeypatch.setenv("INN_NAME", "The Bear")


@pytest.fixture  # SP515
async def sign():
    return Sign()


@pytest.fixture
async def evening():
    with contextlib.ExitStack() as evening:
        evening.enter_context(hosted_by("ann"))  # SP704
        yield evening


class Bell(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def bell():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bell) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.server_port}")
        yield client
        server.shutdown()
        asyncio.run(client.aclose())  # SP112
