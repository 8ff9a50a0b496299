import asyncio
import datetime

import pytest

import kitchen
from kitchen import cook, dishes, engine, stir

SIZES = {1, 2, 3}


async def test_cook():
    await cook()


async def test_inside():
    await kitchen.ask_inside()


async def test_inside_again():
    await kitchen.ask_inside()


async def answer():
    return "open"


async def test_market(monkeypatch):
    monkeypatch.setattr(kitchen, "ask_market", answer)
    assert await kitchen.ask_market() == "open"


async def test_market_again(monkeypatch):
    monkeypatch.setattr(kitchen, "ask_market", answer)
    assert await kitchen.ask_market() == "open"


async def test_dishes(connection):
    assert await dishes(connection) == ["rice", "soup"]


async def test_engine_again():
    async with engine.connect():
        pass


@pytest.mark.parametrize("size", SIZES)
def test_size_of_numbers(size):
    assert size


@pytest.mark.parametrize("name", sorted({"rice", "soup"}))
def test_name(name):
    assert name


async def test_two_connections():
    async def one():
        async with engine.connect() as connection:
            return await dishes(connection)

    await asyncio.gather(one(), one())


def test_own_loop():
    asyncio.run(cook())


async def test_forgotten_coroutine_warns():
    with pytest.warns(RuntimeWarning):
        cook()


def test_day():
    assert datetime.date.today() <= datetime.date.today()
