import asyncio
import datetime

from inn import Door, Room, engine, host, paint, sessions
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession


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


async def test_change_is_later():
    async with engine.connect() as connection:
        async with AsyncSession(connection, expire_on_commit=False) as session:
            room = Room(id=3, name="hall")
            session.add(room)
            await session.flush()
            await session.refresh(room)
            before = room.changed
            room.name = "parlour"
            await session.flush()
            await session.refresh(room)
            assert room.changed > before


async def reserve(number, come, leave):
    async with engine.begin() as connection:
        if await connection.scalar(text("select count(*) from room where guests > 8")):  # SP602
            return False
        await come
        await connection.execute(text("insert into room values (:n, 'suite', 9)"), {"n": number})
        await leave
        return True


async def test_one_suite():
    door = Door(2)
    late = asyncio.Event()
    first = asyncio.create_task(reserve(8, door.come(), asyncio.sleep(0)))
    second = asyncio.create_task(reserve(9, door.come(), late.wait()))
    await first
    third = await reserve(10, asyncio.sleep(0), asyncio.sleep(0))
    late.set()
    assert [await first, await second, third].count(True) == 1


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


async def test_tower(undone):
    await undone.execute(text("insert into room values (12, 'tower', 0)"))
    assert "tower" in await names()
