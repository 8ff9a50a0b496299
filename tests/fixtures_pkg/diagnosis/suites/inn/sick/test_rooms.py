import asyncio
import datetime

from inn import Door, Room, engine, host, paint, sessions
from sqlalchemy import select, text


async def names():
    async with sessions() as session:
        return list(await session.scalars(select(Room.name)))  # SP506


async def test_painting():
    await paint("attic")


async def test_first_room():
    assert (await names())[0] == "attic"


async def check_in(door):
    async with sessions.begin() as session:
        room = await session.get(Room, 2)  # SP603
        await door.come()
        room.guests = room.guests + 1


async def test_two_guests():
    door = Door(2)
    await asyncio.gather(check_in(door), check_in(door))
    async with sessions() as session:
        assert await session.scalar(select(Room.guests).where(Room.id == 2)) == 2


def until():
    return datetime.datetime.now() + datetime.timedelta(hours=2)  # SP607


async def test_booking_is_valid():
    async with engine.connect() as connection:
        await connection.execute(text("create temp table booking (name text, until timestamp)"))
        await connection.execute(text("set time zone 'UTC'"))
        await connection.execute(text("insert into booking values ('ann', :u)"), {"u": until()})
        assert await connection.scalar(text("select count(*) from booking where until > localtimestamp")) == 1


async def test_evening(evening):
    evening.close()
    assert host.get() == "nobody"


async def test_rate(guest):
    assert (await guest.get("/rates/double")).json() == 90
