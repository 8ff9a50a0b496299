"""What one connection cannot serve is named, with both parties and the way out, and never hangs."""

from __future__ import annotations

import re

import pytest

# Each of them is a whole run of pytest, which takes seconds.
pytestmark = pytest.mark.e2e

SAVEPOINT = ("-o", "asyncio_mode=auto", "--savepoint-isolation", "savepoint")

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


def test_each_is_named_with_its_parties_and_the_way_out(run_suite):
    result = run_suite("refused", "test_impossible.py", *SAVEPOINT, "--tb=short", SAVEPOINT_SANDBOX_TIMEOUT="1", COLUMNS="400")
    assert f"{len(NAMED)} failed, 1 passed" in result.stdout, result.stdout
    for test, words in NAMED.items():
        section = re.split(rf"_+ {test} _+\n", result.stdout)[1].split("\n____", 1)[0]
        assert re.search(r"^E +.*" + words, section, re.MULTILINE), (test, section)
        assert "isolation=" in section, (test, section)


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
