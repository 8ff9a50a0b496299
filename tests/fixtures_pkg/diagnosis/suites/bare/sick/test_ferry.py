import asyncio
import datetime as dt

import pytest
from ferry import Boat, captain, free_berth, route
from harbour import Radar, buy_all, insist, paint, settle, tide
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class Meeting:
    """Goes on when all have come."""

    def __init__(self, missing):
        self._missing = missing
        self._complete = asyncio.Event()

    async def wait(self):
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


async def test_cargo_is_loaded(load):
    assert await load("timber") == "timber"


async def test_hold_is_empty(connection):
    assert await connection.fetch("select name from cargo") == []


async def test_same_ticket_twice(connection):
    assert await buy_all(connection, ["ann", "ann", "bob"]) == 2


async def test_three_for_two_seats(pool):
    boat = Boat(pool, Meeting(3))
    await asyncio.gather(*(boat.take(1, name) for name in ("ann", "bob", "cid")))
    assert await pool.fetchval("select count(*) from seat") == 2


async def test_coins_are_put_in(purse):
    await purse.execute(text("insert into purse values (3)"))
    await purse.commit()


async def test_purse_is_empty(purse):
    assert await purse.scalar(text("select count(*) from purse")) == 0


async def test_departure_is_logged(log):
    await log.queue.put("departure")
    await log.queue.join()
    assert log.lines == ["nobody: departure"]


async def test_captain_is_logged(log):
    token = captain.set("ann")
    await log.queue.put("arrival")
    await log.queue.join()
    captain.reset(token)
    assert log.lines[-1] == "ann: arrival"


async def test_horn_is_ordered(horn):
    await horn.later("fog")


async def test_all_is_quiet(horn):
    await asyncio.sleep(0.1)
    assert horn.sounded == []


async def test_horn_sounds(own_horn):
    await own_horn.later("leave")
    await settle()
    assert own_horn.sounded == ["leave"]


async def test_search_ends_when_it_is_called_off():
    async def search():
        await asyncio.sleep(0.2)
        raise LookupError

    task = asyncio.create_task(insist(search))
    await asyncio.sleep(0.01)
    task.cancel()
    _, pending = await asyncio.wait([task], timeout=0.3)
    assert not pending


async def test_tide(tide_station):
    assert tide(tide_station)


@pytest.mark.parametrize("harbour", ["north", "south"])
def test_route(monkeypatch, harbour):
    monkeypatch.setenv("FERRY_ROUTE", harbour)
    assert route("ferry") == harbour


async def leave(connection, minutes):
    until = dt.datetime.now() - dt.timedelta(minutes=minutes)  # SP607
    await connection.execute("insert into trip values ($1)", until)


async def test_trip_is_over(connection):
    await connection.execute("create table trip (until timestamp)")
    await leave(connection, 5)
    assert await connection.fetch("select 1 from trip where until > now() at time zone 'utc'") == []


async def test_connection_is_kept(connection, cleared):
    assert await connection.fetchval("select 1") == 1


def test_own_loop(own_loop):
    assert own_loop.run_until_complete(asyncio.sleep(0, 1)) == 1


def test_old_way():
    assert asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 1)) == 1


async def test_whistle(connection):
    assert await connection.execute("insert into whistle values ('long')") == "INSERT 0 1"


async def test_no_whistle(connection):
    assert await connection.fetch("select name from whistle") == []


async def test_two_names_are_written(clerk):
    clerk.begin(["ann", "bob"])
    await asyncio.sleep(0.001)  # SP605
    written = await clerk.written()
    assert written == 2


async def test_watch(connection):
    async with Radar(connection):
        assert await connection.fetchval("select 1") == 1


async def test_crate_is_broken_up(pool):
    async with pool.acquire() as reader, pool.acquire() as writer:
        await reader.execute("begin")  # SP514
        await reader.fetch("select name from crate")
        await writer.execute("set lock_timeout = '100ms'")
        await writer.execute("drop table if exists crate")


async def test_second_watch_is_later(connection):
    async with connection.transaction():
        await connection.execute("create table watch as select 1 as id, clock_timestamp() as seen")
        first = await connection.fetchval("select seen from watch")
        await connection.execute("update watch set seen = current_timestamp")  # SP606
        assert await connection.fetchval("select seen from watch") > first


async def test_gate_opens(gate):
    gate.begin()
    await asyncio.sleep(0.001)  # SP605
    assert await gate.seen() == "open"


async def test_berth_is_painted(connection):
    await connection.execute("update berth set coats = 2 where name = 'north'")


async def test_northern_berth_is_free(connection):
    assert await free_berth(connection) == "north"


async def test_oars_are_counted_while_one_is_made(dinghies):
    async with dinghies.begin() as connection:
        await connection.execute(text("insert into oar values (3)"))
        async with AsyncSession(dinghies) as session:
            assert await session.scalar(text("select count(*) from oar")) == 1  # SP203


@pytest.mark.parametrize("time", ["first", "second"])
async def test_dinghy(dinghy, time):
    assert await dinghy.scalar(text("select 1")) == 1


async def test_two_painters(pool):
    meeting = Meeting(2)
    await asyncio.gather(paint(pool, "south", meeting.wait), paint(pool, "south", meeting.wait))
