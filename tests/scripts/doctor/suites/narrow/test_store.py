import asyncio

import pytest

import store
from store import Crate, courier

NAMES = frozenset(["tea", "rice"])


async def test_stock_of_tea():
    assert await store.stock("tea") == 1


async def test_stock_of_rice():
    assert await store.stock("rice") == 2


async def test_price_of_tea():
    assert await store.price("tea") == 3


async def test_price_of_rice():
    assert await store.price("rice") == 4


async def test_two_fill_a_crate():
    crate = Crate()
    await asyncio.gather(crate.fill(), crate.fill())


async def test_three_fill_a_crate():
    crate = Crate()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(crate.fill())


async def test_courier_goes():
    await courier.send()


async def test_courier_goes_again():
    await courier.send()


@pytest.mark.parametrize("name", NAMES)  # SP509
def test_name(name):
    assert name


async def test_loop_in_loop():
    asyncio.run(store.send_label())  # SP110


async def test_asks_for_the_loop(event_loop):  # SP104
    assert event_loop.is_running()
