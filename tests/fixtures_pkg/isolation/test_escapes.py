"""What is committed past the sandbox is named with its test, and undone before the next one."""

from __future__ import annotations

import re

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e

SAVEPOINT = ("-o", "asyncio_mode=auto", "--savepoint-isolation", "savepoint")
PAST_THE_SANDBOX = ("test_past.py", "test_standing.py", "test_past_neighbour.py")


def test_test_that_ends_the_outer_transaction_is_named_and_its_database_made_anew(run_suite):
    result = run_suite("refused", "test_escape.py", *SAVEPOINT, "-p", "no:randomly")
    assert "ERROR test_escape.py::test_escapes - " in result.stdout, result.stdout
    assert "test_escape.py::test_escapes ended the transaction that isolates it" in result.stdout
    assert "1 failed, 1 passed" in result.stdout, result.stdout


def test_what_is_committed_past_the_sandbox_is_named_with_its_statement_and_undone(run_suite):
    result = run_suite("refused", *PAST_THE_SANDBOX, *SAVEPOINT, "-p", "no:randomly", COLUMNS="400")
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
