"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import datetime

from inn import Room, engine, host, paint, sessions
from sqlalchemy import func, select, text, update


async def test_rooms_fails():
    async with engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(Room)) == 3


async def names(*order):
    async with sessions() as session:
        return list(await session.scalars(select(Room.name).order_by(*order)))


async def test_painting_and_naming():
    await paint("attic")
    async with sessions.begin() as session:
        await session.execute(update(Room).where(Room.id == 2).values(name="den"))


async def test_first_room_in_order_fails():
    assert (await names(Room.id))[0] == "cellar"


async def test_new_name_fails():
    assert (await names())[0] == "cellar"


async def test_booking_is_over_fails():
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    async with engine.connect() as connection:
        await connection.execute(text("create temp table booking (name text, until timestamp)"))
        await connection.execute(text("set time zone 'UTC'"))
        await connection.execute(text("insert into booking values ('ann', :u)"), {"u": now})
        assert await connection.scalar(text("select count(*) from booking where until > localtimestamp")) == 1


def test_evening(evening):
    evening.close()
    assert host.get() == "nobody"


def test_unknown_rate_fails(visitor):
    assert visitor.get("/rates/single").json() == 90


def test_beds_fails(visitor):
    assert visitor.get("/beds").json() == 8


async def test_teardown_fails(broken_off):
    assert await names()
