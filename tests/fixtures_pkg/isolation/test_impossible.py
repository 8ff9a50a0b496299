"""What one connection cannot serve is named, with both parties and the way out, and never hangs."""

from __future__ import annotations

import json
import re

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e

IMPORTS = """
import asyncio
import os
import asyncpg
import psycopg
import pytest
from shop import Crate, Session, count, engine, store
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
"""

SUITE = {
    "test_impossible.py": IMPORTS
    + '''
async def test_rollback_around_a_commit():
    async with Session() as outer:
        outer.add(Crate(label="outer"))
        await outer.flush()
        await store("inner")
        await outer.rollback()
    await count()

async def test_unrelated_task_waits_for_an_open_transaction():
    go = asyncio.Event()
    async def worker():
        await go.wait()
        await store("from the worker")
    task = asyncio.create_task(worker())
    await asyncio.sleep(0)
    async with Session() as session:
        session.add(Crate(label="open"))
        await session.flush()
        go.set()
        await task

async def test_outer_writes_while_inner_is_open():
    async with Session() as outer, Session() as inner:
        outer.add(Crate(label="outer"))
        await outer.flush()
        inner.add(Crate(label="inner"))
        await inner.flush()
        outer.add(Crate(label="too late"))
        await outer.flush()

async def test_raw_commit():
    async with engine.connect() as connection:
        await connection.execute(text("COMMIT"))

async def test_own_isolation_level():
    async with engine.execution_options(isolation_level="SERIALIZABLE").connect() as connection:
        await connection.execute(text("SELECT 1"))

async def test_listen():
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener("news", print)

async def test_listen_as_text():
    async with engine.connect() as connection:
        await connection.execute(text("LISTEN news"))

async def test_vacuum():
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM crate"))

async def test_sync_engine():
    create_engine("postgresql+psycopg://nowhere.invalid/x").connect()

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

async def test_async_creator():
    own = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(URL))
    async with own.begin() as connection:
        await connection.execute(text("INSERT INTO crate (label) VALUES ('real')"))

def test_creator():
    create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(URL)).connect()

@pytest.fixture(scope="module")
def sync_engine():
    sync_engine = create_engine("postgresql+psycopg://")
    sync_engine.connect().close()
    return sync_engine

def test_sync_connection_from_before_the_test(sync_engine):
    sync_engine.connect()

async def test_two_drivers():
    await store("asyncpg")
    async with create_async_engine("postgresql+psycopg://nowhere.invalid/x").connect() as connection:
        await connection.execute(text("SELECT 1"))

async def test_killed_backend():
    await store("apples")
    async with engine.connect() as connection:
        try:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        except Exception:
            pass
    await count()

async def test_neighbour_is_not_disturbed():
    assert await count() == 0
    await store("apples")
'''
}
NAMED = {
    "test_rollback_around_a_commit": r"shop\.py:\d+ in store .* had committed inside it, so that commit is lost",
    "test_unrelated_task_waits_for_an_open_transaction": r"shop\.py:\d+ in store .* waited 1 s for .*test_impossible\.py:\d+",
    "test_outer_writes_while_inner_is_open": r"must end last-in-first-out",
    "test_raw_commit": r"raw transaction control",
    "test_own_isolation_level": r"asks for isolation level SERIALIZABLE",
    "test_listen": r"PostgreSQL delivers notifications at COMMIT",
    "test_listen_as_text": r"PostgreSQL delivers notifications at COMMIT",
    "test_vacuum": r"runs outside of transactions only",
    "test_sync_engine": r"has a sync driver \(psycopg\)",
    "test_async_creator": r"test_impossible\.py:\d+ in test_async_creator .* has a connection of its own",
    "test_creator": r"has a connection of its own, from a creator=",
    "test_sync_connection_from_before_the_test": r"from a sync driver before the test",
    "test_two_drivers": r"needs the driver psycopg, while .* has begun with asyncpg",
    "test_killed_backend": r"was closed by the server or by the test",
}


SAVEPOINT = ("-o", "asyncio_mode=auto", "--savepoint-isolation", "savepoint")


def test_each_is_named_with_its_parties_and_the_way_out(run_suite):
    result = run_suite(SUITE, *SAVEPOINT, "--tb=short", SAVEPOINT_SANDBOX_TIMEOUT="1", COLUMNS="400")
    assert f"{len(NAMED)} failed, 1 passed" in result.stdout, result.stdout
    for test, words in NAMED.items():
        section = re.split(rf"_+ {test} _+\n", result.stdout)[1].split("\n____", 1)[0]
        assert re.search(r"^E +.*" + words, section, re.MULTILINE), (test, section)
        assert "isolation=" in section, (test, section)


ESCAPE = {
    "test_escape.py": IMPORTS
    + '''
async def test_escapes():
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        await driver.execute("INSERT INTO crate (label) VALUES ('escaped'); COMMIT")

async def test_neighbour_begins_with_an_empty_table():
    assert await count() == 0
'''
}


def test_test_that_ends_the_outer_transaction_is_named_and_its_database_made_anew(run_suite):
    result = run_suite(ESCAPE, *SAVEPOINT, "-p", "no:randomly")
    assert "ERROR test_escape.py::test_escapes - " in result.stdout, result.stdout
    assert "test_escape.py::test_escapes ended the transaction that isolates it" in result.stdout
    assert "1 failed, 1 passed" in result.stdout, result.stdout


WAITING = {
    "test_waiting.py": IMPORTS
    + """
@pytest.fixture
def emptied_afterwards():
    yield
    with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
        connection.execute("TRUNCATE crate RESTART IDENTITY CASCADE")

async def test_one(emptied_afterwards):
    async with Session() as session:
        crate = Crate(label="apples")
        session.add(crate)
        await session.commit()
        assert crate.id == 1

async def test_other():
    assert await count() == 0
"""
}


def test_sync_driver_that_waits_for_the_savepoint_is_let_go_and_its_test_named(run_suite):
    result = run_suite(WAITING, *SAVEPOINT)
    assert "1 error" in result.stdout, result.stdout
    assert "waited for a lock that the savepoint around the test held" in result.stdout, result.stdout
    assert "  TRUNCATE crate RESTART IDENTITY CASCADE" in result.stdout, result.stdout


def test_test_whose_sync_driver_waits_for_the_savepoint_has_its_rows_emptied_instead(run_suite):
    result = run_suite(WAITING, "-o", "asyncio_mode=auto")
    assert "2 passed" in result.stdout, result.stdout
    assert "rows" in result.stdout, result.stdout


SAME_NEED = {
    f"test_{name}.py": IMPORTS
    + f"""
@pytest.mark.parametrize("number", range({tests}))
async def test_serializable(number):
    with open("{name}.txt", "a") as file:
        file.write("run ")
    async with Session() as session:
        await session.connection(execution_options={{"isolation_level": "SERIALIZABLE"}})
        session.add(Crate(label="apples"))
        await session.commit()
"""
    for name, tests in (("first", 5), ("second", 2))
}


def test_tests_whose_neighbours_needed_more_than_a_savepoint_begin_there(run_suite, tmp_path):
    result = run_suite(SAME_NEED, "-o", "asyncio_mode=auto", "-p", "no:randomly")
    assert "7 passed" in result.stdout, result.stdout
    assert result.stdout.count("The tests before it in its file needed rows") == 3, result.stdout
    runs = [(tmp_path / "project" / f"{name}.txt").read_text().count("run") for name in ("first", "second")]
    assert runs == [3 * 2 + 2, 2 + 1], "the first of another file tries a savepoint again"
    learned = json.loads((tmp_path / "project" / "savepoint-isolation.json").read_text())["tests"]
    assert set(learned.values()) == {"rows"}
    assert len(learned) == 7


URL_READ_BEFORE = {
    "test_url.py": IMPORTS
    + """
@pytest.fixture(scope="session")
def url():
    return os.environ["DATABASE_URL"].replace("+asyncpg", "")

async def test_definition(url):
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE barrel (id int)")
    await connection.close()
    async with Session() as session:
        assert await session.scalar(text("SELECT count(*) FROM barrel")) == 0
"""
}


def test_test_that_knows_its_database_by_an_earlier_url_is_not_learned_for_a_clone(run_suite, tmp_path):
    for _ in range(2):
        result = run_suite(URL_READ_BEFORE, "-o", "asyncio_mode=auto")
        assert "1 passed" in result.stdout, result.stdout
        learned = json.loads((tmp_path / "project" / "savepoint-isolation.json").read_text())["tests"]
        assert set(learned.values()) == {"rows"}


BESIDE = {
    "test_beside.py": IMPORTS
    + """
URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

async def test_psycopg():
    await store("apples")
    with psycopg.connect(URL) as connection:
        assert connection.execute("SELECT count(*) FROM crate").fetchone() == (1,)

async def test_asyncpg():
    await store("apples")
    connection = await asyncpg.connect(URL)
    assert await connection.fetchval("SELECT count(*) FROM crate") == 1
    await connection.close()
"""
}


def test_test_that_fails_and_has_looked_past_the_sandbox_is_run_again_where_commits_are_real(run_suite):
    result = run_suite(BESIDE, "-o", "asyncio_mode=auto")
    assert "2 passed" in result.stdout, result.stdout
    assert result.stdout.count("has used a connection that it made with the driver itself") == 2, result.stdout


def test_test_that_fails_and_has_looked_past_the_sandbox_is_told_so(run_suite):
    result = run_suite(BESIDE, *SAVEPOINT)
    assert "2 failed" in result.stdout, result.stdout
    assert result.stdout.count("has used a connection that it made with the driver itself") == 2, result.stdout


CODEC = {
    "test_codec.py": """
import json
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine("postgresql+asyncpg://")

@event.listens_for(engine.sync_engine, "connect")
def read_json(connection, _record):
    connection.run_async(lambda driver: driver.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads))

@pytest.mark.parametrize("time", range(3))
async def test_json_is_read_by_the_own_codec(time):
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert await driver.fetchval("SELECT '[1]'::json") == [1]
        if time == 1:
            await driver.execute("SELECT 1; COMMIT")
"""
}


def test_codec_of_an_engine_outlives_the_connection_that_a_test_cost(run_suite):
    result = run_suite(CODEC, *SAVEPOINT, "-p", "no:randomly")
    assert "test_json_is_read_by_the_own_codec[1] ended the transaction" in result.stdout
    assert "3 passed" in result.stdout, result.stdout


PAST_THE_SANDBOX = {
    "test_past.py": """
import os, subprocess, sys, threading
import psycopg
import pytest
from shop import count, store

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

def commit(sql):
    with psycopg.connect(URL, application_name="backdoor") as connection:
        connection.execute(sql)

async def test_subprocess():
    await store("in the sandbox")
    child = "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
    subprocess.run([sys.executable, "-c", child, URL, "INSERT INTO crate (label) VALUES ('by a child')"], check=True)

def test_thread_although_no_engine_is_used():
    thread = threading.Thread(target=commit, args=["INSERT INTO crate (label) VALUES ('by a thread')"])
    thread.start()
    thread.join()

async def test_definition():
    commit("CREATE TABLE barrel (id int)")

async def test_what_was_rolled_back_or_temporary_is_no_escape():
    with psycopg.connect(URL) as connection:
        connection.execute("INSERT INTO crate (label) VALUES ('never')")
        connection.rollback()
        connection.execute("CREATE TEMP TABLE notes (id int)")
        connection.execute("INSERT INTO notes VALUES (1)")
        connection.execute("SELECT count(*) FROM crate")
""",
    "test_standing.py": """
import pytest
from test_past import commit
from shop import count

@pytest.fixture(scope="module")
def standing():
    commit("INSERT INTO crate (label) VALUES ('standing')")
    yield
    commit("DELETE FROM crate")

async def test_fixture_of_wider_scope_is_no_escape(standing):
    assert await count() == 1
""",
    "test_past_neighbour.py": """
from shop import count, engine
from sqlalchemy import text

async def test_neighbour_finds_the_database_of_the_template():
    assert await count() == 0
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT to_regclass('barrel')"))).scalar_one() is None
""",
}


def test_what_is_committed_past_the_sandbox_is_named_with_its_statement_and_undone(run_suite):
    result = run_suite(PAST_THE_SANDBOX, *SAVEPOINT, "-p", "no:randomly", COLUMNS="400")
    assert re.search("6 passed.* 3 errors", result.stdout), result.stdout
    for test, words in {
        "test_subprocess": r"insert public\.crate: INSERT INTO crate \(label\) VALUES \('by a child'\)",
        "test_thread_although_no_engine_is_used": r"insert public\.crate \(application_name backdoor\): .*'by a thread'",
        "test_definition": r"definition CREATE TABLE .*CREATE TABLE barrel",
    }.items():
        section = re.split(rf"_+ ERROR at teardown of {test} _+\n", result.stdout)[1].split("\n____", 1)[0]
        assert re.search(words, section), section
        assert f"test_past.py::{test} ran" in section, section


BESIDE_A_LAYER = {
    "test_layer.py": """
import os
import psycopg
import pytest
from shop import Crate, count, store

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

@pytest.fixture(scope="module", autouse=True)
async def of_the_module(db_module_session):
    db_module_session.add(Crate(label="of the module"))
    await db_module_session.commit()

@pytest.fixture(scope="session")
def standing():
    with psycopg.connect(URL) as connection:
        connection.execute("INSERT INTO crate (label) VALUES ('standing')")
    yield
    with psycopg.connect(URL) as connection:
        connection.execute("DELETE FROM crate")

async def test_first_sees_the_modules_data():
    assert await count() == 1

@pytest.mark.savepoint(isolation="none")
async def test_without_isolation():
    await store("apples")

async def test_fixture_of_the_session_that_begins_within_a_layer_is_no_escape(standing):
    assert await count() == 2
"""
}


def test_layer_blames_nobody_for_a_fixture_of_the_session_and_refuses_tests_that_commit_for_real(run_suite):
    result = run_suite(BESIDE_A_LAYER, *SAVEPOINT, "-p", "no:randomly", COLUMNS="400")
    assert "1 error" in result.stdout, result.stdout
    assert "test_without_isolation is isolated by none, but the data of test_layer.py" in result.stdout, result.stdout


def test_auto_runs_each_again_where_it_can_be_served_and_knows_it_the_next_time(run_suite, tmp_path):
    suite = {"test_impossible.py": SUITE["test_impossible.py"], **ESCAPE, **PAST_THE_SANDBOX}
    auto = ("-o", "asyncio_mode=auto", "-n", "2")
    first = run_suite(suite, *auto, SAVEPOINT_SANDBOX_TIMEOUT="1", COLUMNS="400")
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in ", first.stdout, re.MULTILINE), first.stdout
    learned = json.loads((tmp_path / "project" / "savepoint-isolation.json").read_text())["tests"]
    assert {nodeid.partition("::")[2] for nodeid in learned} == {
        *NAMED, "test_escapes", "test_subprocess", "test_thread_although_no_engine_is_used", "test_definition"
    }  # fmt: skip
    assert "test_impossible.py::test_own_isolation_level: rows" in first.stdout
    assert "Commit savepoint-isolation.json" in first.stdout
    second = run_suite(suite, *auto, SAVEPOINT_SANDBOX_TIMEOUT="1")
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in ", second.stdout, re.MULTILINE), second.stdout
    assert "need more than a savepoint" not in second.stdout, second.stdout
