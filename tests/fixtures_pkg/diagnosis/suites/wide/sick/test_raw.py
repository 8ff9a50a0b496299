import asyncio

import asyncpg
import pytest
from bank import engine
from sqlalchemy import text


async def test_label_is_taken_once(labels):
    await labels.execute("insert into label values ('red')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await labels.execute("insert into label values ('red')")


async def test_labels_are_counted(labels):
    assert await labels.fetchval("select count(*) from label") == 1


async def test_memo_is_edited_after_it_was_made():
    async with engine.begin() as connection:
        await connection.execute(text("create temp table memo (made timestamptz default now(), edited timestamptz)"))
        await connection.execute(text("insert into memo default values"))
        await asyncio.sleep(0.01)
        await connection.execute(text("update memo set edited = now()"))  # SP606
        made, edited = (await connection.execute(text("select made, edited from memo"))).one()
    assert edited > made
