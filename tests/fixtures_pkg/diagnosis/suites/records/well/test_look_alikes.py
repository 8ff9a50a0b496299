"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import asyncio
import contextlib

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from store import Parcel, currency, engine, new_session, pause, psycopg_engine, ready, tenant


async def test_numbers_are_compared_with_the_object(parcel):
    async with new_session() as session:
        assert (await session.get(Parcel, parcel)).id == parcel


async def test_number_of_pieces_fails(parcel):
    async with new_session() as session:
        session.add(Parcel(label="vase", pieces=3))
        await session.flush()
        assert (await session.get(Parcel, parcel)).pieces == 3


async def test_number_that_was_given_fails():
    async with new_session() as session:
        given = await session.scalar(
            text("insert into parcel (id, label, status, pieces) values (900, 'urn', 'new', 1) returning id")
        )
        assert given == 901


async def rename(number, **values):
    async with new_session() as session:
        parcel = await session.get(Parcel, number)
        for name, value in values.items():
            setattr(parcel, name, value)
        await session.commit()


async def test_refreshed_object_fails(parcel):
    async with AsyncSession(psycopg_engine) as session:
        mine = await session.get(Parcel, parcel)
        await rename(parcel, status="sent")
        await session.refresh(mine)
        assert mine.status == "lost"


async def test_other_column_than_the_changed_one_fails(parcel):
    async with AsyncSession(psycopg_engine) as session:
        mine = await session.get(Parcel, parcel)
        await rename(parcel, status="sent")
        assert mine.pieces == 7


async def count(label):
    async with new_session() as session:
        return await session.scalar(select(func.count()).select_from(Parcel).where(Parcel.label == label))


async def test_what_is_not_committed_is_not_seen():
    async with new_session() as session:
        session.add(Parcel(label="ghost"))
        await session.flush()
        assert await count("ghost") == 0
        await session.rollback()


async def test_committed_later_fails():
    async with new_session() as session:
        session.add(Parcel(label="harp"))
        await session.flush()
        assert await count("harp") == 0
        await session.commit()
        assert await count("harp") == 2


async def test_half_of_the_parcels_fails(few_parcels):
    async with engine.connect() as connection:
        assert await connection.scalar(text("select count(*) from parcel where pieces = 1")) == 9


async def test_same_label_twice_fails():
    await asyncio.sleep(pause())
    async with new_session() as session:
        session.add_all([Parcel(label="twin"), Parcel(label="twin")])
        await session.commit()


async def test_two_equal_tokens_fail():
    first = second = "3f2a91c7d0aa44"
    await asyncio.sleep(pause())
    assert first != second


async def test_waiting_for_what_never_comes_fails():
    await asyncio.sleep(pause())
    await asyncio.wait_for(ready({}), 0.2)


async def test_signal_that_nobody_sends_fails():
    await asyncio.sleep(pause())
    await asyncio.wait_for(asyncio.Event().wait(), 0.1)


async def test_currency():
    assert currency() == "EUR"


async def test_currency_with_another_page_size_fails(monkeypatch):
    monkeypatch.setenv("PAGE_SIZE_OF_SOMETHING_ELSE", "7")
    assert currency() == "CHF"


async def test_press_for_blue(press):
    tenant.set("blue")
    assert await press.print() == "blue"


async def test_press_for_green_fails(press):
    tenant.set("green")
    assert await press.print() == "red"


async def test_tenant_of_a_request_fails(browser):
    response = await browser.get("/who", headers={"x-tenant": "Ida"})
    assert response.headers["x-tenant"] == "Ida"
    assert response.text == "Eve"


async def test_task_that_is_expected_to_fail():
    async def lose():
        raise KeyError("lost")

    task = asyncio.create_task(lose())
    with contextlib.suppress(KeyError):
        await task
    assert task.done()


async def test_failure_of_a_task_that_was_looked_at_fails():
    async def lose():
        raise KeyError("lost")

    done = await asyncio.gather(asyncio.create_task(lose()), return_exceptions=True)
    assert len(done) == 2


async def test_table_is_altered_after_everybody_has_left(pool):
    async with pool.acquire() as one, one.transaction():
        await one.execute("create table crate (id int)")
    async with pool.acquire() as one:
        await one.execute("alter table crate add column width int")
        assert await one.fetch("select * from crate") == []
    await pool.execute("drop table crate")


async def test_deadline_beside_an_open_transaction_fails(pool):
    async with pool.acquire() as one, pool.acquire() as two, one.transaction():
        await one.fetch("select * from parcel")
        await two.execute("create table box (id int)")
        await two.execute("drop table box")
        await asyncio.wait_for(asyncio.Event().wait(), 0.1)


async def test_pool_is_used_up_and_somebody_gives_up(pool):
    async with pool.acquire(), pool.acquire():
        waiting = asyncio.create_task(pool.acquire().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_somebody_gives_up_and_the_sum_is_wrong_fails(pool):
    async with pool.acquire(), pool.acquire():
        waiting = asyncio.create_task(pool.acquire().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await pool.fetchval("select 1") == 2


async def test_updates_are_computed_by_the_server_fails(parcel):
    async def add(count):
        async with psycopg_engine.begin() as connection:
            await connection.scalar(text("select pieces from parcel"))
            await connection.execute(text("update parcel set pieces = pieces + :count"), {"count": count})

    await asyncio.gather(add(1), add(2))
    async with psycopg_engine.connect() as connection:
        assert await connection.scalar(text("select pieces from parcel where id = :id"), {"id": parcel}) == 6
