import asyncio

from sqlalchemy import func, select
from store import Depot, Meeting, Parcel, Shelf, new_session, psycopg_engine, quote_in_time, take_from_shelf, leave_shift
from sqlalchemy.ext.asyncio import AsyncSession


async def mark_as_sent(number):
    async with new_session() as session:
        parcel = await session.get(Parcel, number)
        parcel.status = "sent"
        await session.commit()


async def test_parcel_is_sent(parcel):
    async with AsyncSession(psycopg_engine) as session:
        mine = await session.get(Parcel, parcel)
        assert mine.status == "new"
        await mark_as_sent(parcel)
        mine = (await session.scalars(select(Parcel).where(Parcel.id == parcel))).one()  # SP306
        assert mine.status == "sent"


async def count_parcels(label):
    async with new_session() as session:
        return await session.scalar(select(func.count()).select_from(Parcel).where(Parcel.label == label))


async def test_new_parcel_is_counted():
    async with new_session() as session:
        session.add(Parcel(label="harp"))
        await session.flush()  # SP307
        assert await count_parcels("harp") == 1


async def test_two_customers_take_shelves():
    meeting = Meeting()
    await asyncio.gather(take_from_shelf(2, meeting), take_from_shelf(3, meeting))
    async with psycopg_engine.connect() as connection:
        assert await connection.scalar(select(Shelf.free)) == 5


async def test_both_doctors_want_to_leave():
    meeting = Meeting()
    await asyncio.gather(leave_shift("ann", meeting), leave_shift("bob", meeting))


async def test_quotes_come_in_time():
    for amount in range(6):
        assert await quote_in_time(amount) == amount * 2


async def test_depots_are_found(depots, no_depots):
    async with new_session() as session:
        assert await session.scalar(select(func.count()).select_from(Depot)) == 2
