"""The server is asked for waits on locks while they last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pytest_savepoint.diagnosis.lock_waits import told_waits
from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.watch import Watch


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch(Recorder(), Path(__file__).parent)
    watch.start()
    yield watch
    watch.stop()


async def test_both_statements_of_a_wait_for_a_lock_are_told_and_the_question_is_none_of_the_suite(watch, server):
    async def wait_until_told() -> list[str]:
        while not (told := told_waits(watch.recorder.take())):  # noqa: ASYNC110 - a thread notes it
            await asyncio.sleep(0.05)
        return told

    watch.recorder.test, watch.recorder.when = "test_it.py::test_it", "call"
    reader, cleaner = [await asyncpg.connect(**server.address.connect_arguments("postgres")) for _ in range(2)]
    await reader.execute("create table meter (reading int)")
    async with reader.transaction():
        await reader.execute("select * from meter")
        cleaning = asyncio.create_task(cleaner.execute("truncate meter"))
        (told,) = await wait_until_told()
    await cleaning
    await reader.execute("drop table meter")
    await asyncio.gather(reader.close(), cleaner.close())
    assert told.startswith("'truncate meter' at test_lock_waits.py:"), told
    assert "waited for AccessExclusiveLock on meter, held by 'select * from meter' at test_lock_waits.py:" in told
    sent = [each["sql"] for each in watch.history.of_test("test_it.py::test_it")]
    assert [sql for sql in sent if "pg_blocking_pids" in sql] == []
