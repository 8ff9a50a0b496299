"""With `auto` a test that needs more than a savepoint is run again with more, and begins there from then on."""

from __future__ import annotations

import itertools
import json
import re

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e

IMPORTS = """
import os
import asyncpg
import psycopg
import pytest
from shop import Crate, Session, count, store
from sqlalchemy import text
"""

AUTO = ("-o", "asyncio_mode=auto")
SAVEPOINT = (*AUTO, "--savepoint-isolation", "savepoint")

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
    result = run_suite(WAITING, *AUTO)
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
    result = run_suite(SAME_NEED, *AUTO, "-p", "no:randomly")
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
        result = run_suite(URL_READ_BEFORE, *AUTO)
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
    result = run_suite(BESIDE, *AUTO)
    assert "2 passed" in result.stdout, result.stdout
    assert result.stdout.count("has used a connection that it made with the driver itself") == 2, result.stdout


def test_test_that_fails_and_has_looked_past_the_sandbox_is_told_so(run_suite):
    result = run_suite(BESIDE, *SAVEPOINT)
    assert "2 failed" in result.stdout, result.stdout
    assert result.stdout.count("has used a connection that it made with the driver itself") == 2, result.stdout


NEED_NO_MORE = {
    "test_neighbour_is_not_disturbed",
    "test_neighbour_begins_with_an_empty_table",
    "test_neighbour_finds_the_database_of_the_template",
    "test_what_was_rolled_back_or_temporary_is_no_escape",
    "test_fixture_of_wider_scope_is_no_escape",
}


def test_auto_runs_each_again_where_it_can_be_served_and_knows_it_the_next_time(run_suite, tmp_path):
    first = run_suite("refused", *AUTO, "-n", "2", SAVEPOINT_SANDBOX_TIMEOUT="1", COLUMNS="400")
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in ", first.stdout, re.MULTILINE), first.stdout
    learned = json.loads((tmp_path / "project" / "savepoint-isolation.json").read_text())["tests"]
    tests = [re.findall(r"def (test_\w+)", file.read_text()) for file in (tmp_path / "project").glob("test_*.py")]
    assert {nodeid.partition("::")[2] for nodeid in learned} == {*itertools.chain(*tests)} - NEED_NO_MORE
    assert "test_impossible.py::test_own_isolation_level: rows" in first.stdout
    assert "Commit savepoint-isolation.json" in first.stdout
    second = run_suite("refused", *AUTO, "-n", "2", SAVEPOINT_SANDBOX_TIMEOUT="1")
    assert re.search(r"^\d+ passed(, \d+ warnings?)? in ", second.stdout, re.MULTILINE), second.stdout
    assert "need more than a savepoint" not in second.stdout, second.stdout
