import pytest
from sqlalchemy import text

from tracing import run_new, run_old


@pytest.mark.anyio  # SP105
async def test_of_the_other_plugin(engine):
    async with engine.connect() as connection:
        await connection.execute(text("select 1"))


async def test_edited_later(session):
    await session.execute(text("insert into note (body) values ('draft')"))
    await session.execute(text("update note set edited = now()"))  # SP606
    assert await session.scalar(text("select edited > created from note"))


async def test_trace_ends(trace):
    trace.end()


def test_old():
    run_old()


def test_new():
    run_new()
