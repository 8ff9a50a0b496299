import asyncio
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import asyncpg
import pytest
import pytest_asyncio
from desk import DSN, Desk, sync_engine
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.testclient import TestClient


@pytest.fixture(scope="session", autouse=True)
def boxes():
    with sync_engine.begin() as connection:
        connection.execute(text("create table box (id int primary key, n int)"))
        connection.execute(text("insert into box values (1, 0), (2, 0)"))
    yield
    sync_engine.dispose()


engines = []


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A traceback, in a thread, of who hung up would be parsed while pytest parses, which Python 3.11 cannot."""


@pytest.fixture(scope="session")
def weather_service():
    server = Server(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest_asyncio.fixture
async def desk():
    desk = Desk()
    await desk.open()
    yield desk
    desk.pool.terminate()


async def open_pool():
    return await asyncpg.create_pool(DSN, min_size=1)


@pytest.fixture(scope="module")
def pool():
    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(open_pool())
    yield pool
    asyncio.run(pool.close())  # SP112


@pytest.fixture
def browser():
    from desk import shop

    with TestClient(shop) as browser:  # SP106
        yield browser


@pytest.fixture(scope="session")
def small_role():
    name = f"clerk_{os.getpid()}"
    password = make_url(os.environ["DATABASE_URL"]).password
    with sync_engine.begin() as connection:
        connection.execute(text(f"create role {name} login password '{password}' connection limit 3"))
    yield name
    with sync_engine.begin() as connection:
        connection.execute(text(f"drop role {name}"))


@pytest_asyncio.fixture
async def clerk(small_role):
    url = make_url(os.environ["DATABASE_URL"]).set(username=small_role)
    engine = create_async_engine(url)  # SP205
    engines.append(engine)
    return engine
