import asyncio
import threading

import pytest
from desk import Meeting, Throttle, both_ways, outside, web_engine
from sqlalchemy import text


async def test_weather_today(weather_service):
    assert (await outside.get(weather_service)).text == "ok"


async def test_weather_tomorrow(weather_service):
    assert (await outside.get(weather_service)).text == "ok"


@pytest.mark.parametrize("day", ["monday", "tuesday"])
async def test_throttle(day):
    await asyncio.gather(*(Throttle().work() for _ in range(3)))


class TestPool:
    async def test_borrowing(self, desk):
        for _ in range(2):
            assert await desk.borrow_and_forget() == 1
        async with desk.pool.acquire(timeout=0.3) as connection:
            assert await connection.fetchval("select 1") == 1

    async def test_totals(self, desk):
        meeting = Meeting()
        assert await asyncio.gather(desk.total(meeting), desk.total(meeting)) == [3, 3]


def test_moves_cross():
    both_ways(threading.Barrier(2))


async def test_stock_is_seen():
    async with web_engine.connect() as connection:
        assert await connection.scalar(text("select count(*) from box")) == 2


def test_stock_in_browser(browser):
    assert browser.get("/stock").json() == 2


@pytest.mark.parametrize("number", range(5))
async def test_clerk(clerk, number):
    async with clerk.connect() as connection:
        assert await connection.scalar(text("select 1")) == 1
