"""The fixtures work with every async plugin and mode, because nothing that they hand out belongs to a loop."""

from __future__ import annotations

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e

BODY = '''
async def test_fixtures(db_session, db_connection, db_engine, database):
    db_session.add(Crate(label="apples"))
    await db_session.commit()
    assert (await db_connection.execute(text("SELECT count(*) FROM crate"))).scalar_one() == 1
    async with db_engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_database()"))).scalar_one() == database.name

async def test_nothing_is_left(db_session):
    assert await count(db_session) == 0
    db_session.add(Crate(label="left open"))
    await db_session.flush()

class TestEngineOfItsOwn:
    @pytest.fixture
    def db_engine(self, db_engine):
        return db_engine.execution_options(logging_token="own")

    async def test_session_speaks_by_it(self, db_session, db_engine):
        assert db_session.bind is db_engine
        assert await count(db_session) == 0

async def test_client_runs_the_lifespan_on_the_tests_loop(client):
    assert (await client.get("/")).json() == {"started": True, "crates": 0}
    await client.post("/apples")
    assert (await client.get("/")).json() == {"started": True, "crates": 1}

async def test_start_up_has_run_before_the_first_request(client):
    import application
    assert application.running == 1

def test_shutdown_has_run_after_every_test():
    import application
    assert application.running == 0
    assert application.shut_down_cleanly == application.start_ups
'''
APPLICATION = '''
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request
from shop import count, store

running = start_ups = shut_down_cleanly = 0

@asynccontextmanager
async def lifespan(app):
    global running, start_ups, shut_down_cleanly
    loop = asyncio.get_running_loop()
    running += 1
    start_ups += 1
    yield {"started": True}
    running -= 1
    # Not in a finally: a shutdown that was cancelled does not count.
    await asyncio.sleep(0)
    assert asyncio.get_running_loop() is loop
    shut_down_cleanly += 1

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def read(request: Request):
    return {"started": request.state.started, "crates": await count()}

@app.post("/{label}")
async def create(label: str):
    await store(label)
'''
LOOP_OF = 'pytestmark = pytest.mark.asyncio(loop_scope="{}")'
ANYIO = 'pytestmark = pytest.mark.anyio\nanyio_backend = pytest.fixture(lambda: "asyncio")\n'
PLUGINS = {
    "pytest-asyncio, strict, on loops of each scope": (
        {f"test_{scope}.py": LOOP_OF.format(scope) for scope in ("function", "class", "module", "session")},
        ["-o", "asyncio_mode=strict"],
    ),
    "anyio": ({"test_anyio.py": ANYIO}, ["-p", "no:asyncio", "-p", "anyio"]),
}
IMPORTS = """
import pytest
from shop import Crate, count
from sqlalchemy import text
"""


@pytest.mark.parametrize("plugin", PLUGINS)
def test_fixtures_work_with(plugin, run_suite):
    marks, arguments = PLUGINS[plugin]
    files = {name: IMPORTS + mark + BODY for name, mark in marks.items()}
    result = run_suite(
        {**files, "application.py": APPLICATION}, *arguments, "-p", "no:randomly", SAVEPOINT_APP="application:app"
    )
    assert f"{6 * len(files)} passed" in result.stdout, result.stdout + result.stderr


def test_synchronous_test_client_shares_the_sandbox_over_its_loops(run_suite):
    test = IMPORTS + '''
from starlette.testclient import TestClient
from application import app

def test_first(seen_from_outside):
    client = TestClient(app)
    client.post("/apples")
    with TestClient(app) as running:
        assert running.get("/").json() == {"started": True, "crates": 1}
    assert seen_from_outside() == 0

def test_second():
    with TestClient(app) as running:
        assert running.get("/").json() == {"started": True, "crates": 0}
'''
    result = run_suite({"test_it.py": test, "application.py": APPLICATION}, SAVEPOINT_APP="application:app")
    assert "2 passed" in result.stdout, result.stdout + result.stderr


def test_what_a_fixture_of_wider_scope_commits_stays_for_its_tests(run_suite):
    test = IMPORTS + '''
import pytest_asyncio
from sqlalchemy import delete
from shop import Session

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def catalogue():
    async with Session() as session:
        session.add(Crate(label="from the module"))
        await session.commit()
    yield
    async with Session() as session:
        await session.execute(delete(Crate))
        await session.commit()

@pytest.mark.parametrize("turn", [1, 2])
async def test_sees_it(catalogue, turn, db_session):
    assert await count() == 1
    db_session.add(Crate(label="of the test"))
    await db_session.commit()
'''
    conftest = {"test_it.py": test, "conftest.py": ""}
    result = run_suite(conftest, "-o", "asyncio_mode=auto")
    assert "2 passed" in result.stdout, result.stdout + result.stderr


def test_marked_test_commits_for_real_and_isolation_none_leaves_everything_alone(run_suite):
    test = IMPORTS + '''
from sqlalchemy import delete
from shop import Session

@pytest.mark.savepoint(isolation="none")
async def test_commits(seen_from_outside):
    async with Session() as session:
        session.add(Crate(label="real"))
        await session.commit()
        assert seen_from_outside() == 1
        await session.execute(delete(Crate))
        await session.commit()
'''
    result = run_suite({"test_it.py": test}, "-o", "asyncio_mode=auto")
    assert "1 passed" in result.stdout, result.stdout + result.stderr
    observed = "import os\ndef test_environment():\n    assert os.environ['DATABASE_URL'] == 'mine'\n"
    result = run_suite(
        {"test_it.py": observed, "conftest.py": ""}, "--savepoint-isolation", "none", DATABASE_URL="mine"
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr
