import asyncio

import pytest
from bank import book, borrow, close_account, deposit, engine, first_customer, overview, register, transfer
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError


async def test_overview(session):
    assert len(set(await overview(session))) == 1


async def test_lookups_on_one_connection(raw):
    numbers = [raw.fetchval("select $1::int", number) for number in range(3)]
    assert await asyncio.gather(*numbers) == [0, 1, 2]  # SP201


async def test_borrow_nothing():
    assert await borrow(0) == 0


async def test_borrow_much():
    assert await borrow(5) == 5


async def test_book():
    assert await book("salary") == "salary"


async def test_transfers_cross():
    await asyncio.gather(transfer(1, 2), transfer(2, 1))


async def test_deposits_add_up():
    await asyncio.gather(deposit(5), deposit(7))
    async with engine.connect() as connection:
        assert await connection.scalar(text("select cents from account where id = 3")) == 12


async def test_everybody_registers_the_same():
    await asyncio.gather(*(register("guest") for _ in range(3)))


async def test_account_is_closed():
    assert await close_account()


async def test_duplicate_badge(long_session):
    await long_session.execute(text("insert into badge values ('twice')"))
    with pytest.raises(IntegrityError):
        await long_session.execute(text("insert into badge values ('twice')"))


async def test_badges_can_be_counted(long_session):
    assert await long_session.scalar(text("select count(*) from badge")) >= 0


async def test_name_of_founder(founder):
    assert founder.name == "founder"


async def test_accounts_of_first_customer(session, founder):
    customer = await first_customer(session)
    assert len(customer.accounts) == 0  # SP304
