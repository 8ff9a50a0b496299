from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from app.database import get_db, session_factory
from app.models import Item, User
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = pytest.mark.asyncio


async def count_of(session: AsyncSession, email: str) -> int:
    return await session.scalar(select(func.count()).select_from(User).where(User.email == email))


async def test_transaction_rollback(db_session: AsyncSession):
    try:
        async with db_session.begin_nested():
            db_session.add(User(email="rollback@test.com", name="Test"))
            raise ValueError("Simulated error")
    except ValueError:
        pass

    result = await db_session.execute(select(User).where(User.email == "rollback@test.com"))
    assert result.scalar_one_or_none() is None


async def test_nested_rollback_keeps_what_was_before_it(db_session: AsyncSession):
    db_session.add(User(email="outer@example.com", name="Outer"))
    nested = await db_session.begin_nested()
    db_session.add(User(email="inner@example.com", name="Inner"))
    await db_session.flush()

    await nested.rollback()

    assert await count_of(db_session, "outer@example.com") == 1
    assert await count_of(db_session, "inner@example.com") == 0


async def test_commit_is_seen_by_a_session_of_the_application(db_session: AsyncSession):
    db_session.add(User(email="seen@example.com", name="Seen"))
    await db_session.commit()

    async with session_factory() as session:
        assert await count_of(session, "seen@example.com") == 1


async def test_commit_of_the_application_is_seen_by_the_test(db_session: AsyncSession):
    async with session_factory.begin() as session:
        session.add(User(email="app@example.com", name="App"))

    assert await count_of(db_session, "app@example.com") == 1


async def test_rollback_of_the_application_keeps_committed_rows(db_session: AsyncSession):
    db_session.add(User(email="seed@example.com", name="Seed"))
    await db_session.commit()

    async with session_factory() as session:
        session.add(User(email="lost@example.com", name="Lost"))
        await session.flush()
        await session.rollback()

    assert await count_of(db_session, "seed@example.com") == 1
    assert await count_of(db_session, "lost@example.com") == 0


async def test_session_of_a_request_undoes_what_the_request_did_not_commit(db_session: AsyncSession):
    async with asynccontextmanager(get_db)() as session:
        session.add(User(email="undone@example.com", name="Undone"))
        await session.flush()

    assert await count_of(db_session, "undone@example.com") == 0


async def test_two_sessions_of_the_application_take_turns():
    async with session_factory() as first:
        first.add(Item(name="From the first", price=1))
        await first.commit()
        async with session_factory() as second:
            names = (await second.scalars(select(Item.name))).all()
            second.add(Item(name="From the second", price=1))
            await second.commit()
        everything = (await first.scalars(select(Item.name).order_by(Item.name))).all()

    assert names == ["From the first"]
    assert everything == ["From the first", "From the second"]


@pytest.mark.parametrize("time", ["first", "second"])
async def test_committed_row_is_gone_after_the_test(db_session: AsyncSession, time: str):
    assert await count_of(db_session, "only@example.com") == 0

    db_session.add(User(email="only@example.com", name="Only"))
    await db_session.commit()


@pytest.mark.parametrize("time", ["first", "second"])
async def test_row_committed_by_the_application_is_gone_after_the_test(time: str):
    async with session_factory.begin() as session:
        assert await count_of(session, "only@example.com") == 0
        session.add(User(email="only@example.com", name="Only"))
