"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import asyncio
import datetime

import asyncpg
import pytest
from ferry import Boat, Horn, buy, captain, free_berth, route
from kept import greeting


async def test_cargo_is_loaded(load):
    assert await load("timber") == "timber"


async def test_hold_is_empty_fails(connection, load):
    await load("grain")
    assert await connection.fetch("select name from cargo") == []


async def test_same_ticket_twice(connection):
    await buy(connection, "ann")
    async with connection.transaction():
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await buy(connection, "ann")
        await buy(connection, "bob")


async def test_three_for_two_seats_fails(pool):
    boat = Boat(pool)
    await asyncio.gather(*(boat.take(1, name) for name in ("ann", "bob", "cid")))
    assert await pool.fetchval("select count(*) from seat") == 1


async def test_one_after_another_fails(pool):
    boat = Boat(pool)
    await boat.take(2, "ann")
    await boat.take(2, "bob")
    assert await pool.fetchval("select count(*) from seat where row = 2") == 1


async def test_departure_is_logged_fails(log):
    await log.queue.put("departure")
    await log.queue.join()
    assert log.lines == ["somebody: departure"]


def test_captain_is_set_fails():
    token = captain.set("ann")
    try:
        assert captain.get() == "bob"
    finally:
        captain.reset(token)


async def test_horn_is_ordered(horn):
    await horn.later("fog")


async def test_horn_of_its_own_fails():
    horn = Horn()
    await horn.later("fog")
    await horn.idle()
    assert horn.sounded == []


async def test_slept_and_then_waited_fails(horn):
    await horn.later("leave")
    await asyncio.sleep(0.001)
    assert await asyncio.sleep(0, horn.sounded) == ["leave"]


async def test_cleaning_up_when_called_off_fails():
    seen = []

    async def search():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            seen.append("cleaned")

    task = asyncio.create_task(search())
    await asyncio.sleep(0)
    task.cancel()
    assert seen == ["found"]


async def test_memory_in_hand_fails():
    view = memoryview(bytearray(4))
    assert len(view) == 5


def test_route(routes):
    assert route("ferry") == "north"


def test_route_fails(routes):
    assert route("ferry") == "south"


def test_greeting():
    assert greeting() == "hello"


def test_greeting_fails():
    assert greeting() == "good evening"


async def test_slept_while_others_are_written_fails(clerk, connection):
    clerk.begin(["ann"])
    await asyncio.sleep(0.001)
    assert await connection.fetchval("select count(*) from seat where row = 9") == 1


async def test_watch_is_later_than_what_came_after_it_fails(connection):
    async with connection.transaction():
        await connection.execute("create table watch as select 1 as id, clock_timestamp() as seen")
        await connection.execute("update watch set seen = current_timestamp")
        after = datetime.datetime.now(datetime.timezone.utc)
        assert await connection.fetchval("select seen from watch") > after


async def test_gate_is_seen_open_too_early_fails(gate):
    gate.begin()
    await asyncio.sleep(0.001)
    assert await gate.seen() == "closed"


async def test_berth_is_painted(connection):
    await connection.execute("update berth set name = 'west' where name = 'north'")


async def test_renamed_berth_is_free_fails(connection):
    assert await free_berth(connection) == "north"
