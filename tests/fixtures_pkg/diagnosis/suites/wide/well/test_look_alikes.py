"""Everything here looks like one of the failures, and is right; three tests fail for reasons of their own."""

import asyncio
import contextlib
import time

import pytest
from conftest import language
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession


async def test_rollback_inside_a_savepoint(session):
    await session.execute(text("insert into note values ('kept')"))
    await session.commit()
    await session.execute(text("insert into note values ('dropped')"))
    await session.rollback()
    assert await session.scalar(text("select count(*) from note")) == 1


async def test_refused_row_in_a_nested_transaction(session):
    await session.execute(text("insert into note values ('one')"))
    with pytest.raises(IntegrityError):
        async with session.begin_nested():
            await session.execute(text("insert into note values ('one')"))
    assert await session.scalar(text("select count(*) from note")) == 1


async def test_sessions_of_their_own(engine):
    async def count():
        async with AsyncSession(engine) as own:
            return await own.scalar(text("select count(*) from note"))

    assert await asyncio.gather(count(), count()) == [0, 0]


async def test_french(in_french):
    assert language.get() == "fr"


async def test_english():
    assert language.get() == "en"


async def test_blocking_call_without_a_deadline():
    time.sleep(0.3)


async def test_blocking_call_in_a_thread():
    await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.3), 5)


async def test_background_task_that_is_cancelled(heart):
    await asyncio.sleep(0.2)
    assert heart


async def test_task_that_is_awaited_later():
    task = asyncio.create_task(asyncio.sleep(0.05, "late"))
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.001)
    assert await task == "late"


async def test_words_in_order(session):
    await session.execute(text("insert into note values ('b'), ('a')"))
    rows = await session.scalars(text("select words from note order by words"))
    assert list(rows) == ["b", "a"]


async def test_wrong_count(session):
    await session.execute(text("insert into note (words, written) values ('x', now())"))
    assert await session.scalar(text("select count(*) from note")) == 2


async def test_visitor_is_not_known(browser, known_visitor):
    assert (await browser.get("/nowhere")).status_code == 200


async def test_item_is_listed(new_list, engine):
    async with engine.begin() as connection:
        await connection.execute(text("insert into list values ('milk')"))


async def test_item_that_nobody_listed_fails(new_list, engine):
    async with engine.connect() as connection:
        assert await connection.scalar(text("select item from list")) == "tea"


LATE = {}


async def test_note_is_written_later(engine):
    async def write():
        await LATE["go"].wait()
        async with engine.begin() as connection:
            await connection.execute(text("insert into note values ('late')"))

    LATE["go"] = asyncio.Event()
    LATE["task"] = asyncio.create_task(write())


async def test_number_of_items_fails(new_list, engine):
    LATE["go"].set()
    await LATE["task"]
    async with engine.connect() as connection:
        assert await connection.scalar(text("select count(*) from list")) == 4
