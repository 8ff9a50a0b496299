"""Locks of the whole process that nobody ever waits for, so that no loop holds them; and tests that fail beside them."""

import asyncio

import pytest
from station import Platform, bell, counter, stamp

pytestmark = pytest.mark.asyncio

LOCKS = {"gate": lambda: Platform.gate, "bell": bell.get, "counter": counter}


@pytest.mark.parametrize("day", ["monday", "tuesday"])
@pytest.mark.parametrize("name", sorted(LOCKS))
async def test_one_traveller(name, day):
    async with LOCKS[name]():
        await asyncio.sleep(0)
    assert await stamp("ticket") == "ticket"


@pytest.mark.parametrize("day", ["monday", "tuesday"])
async def test_wrong_sum(day):
    async with Platform.gate:
        await asyncio.sleep(0)
        assert len(day) == 5


async def test_released_twice():
    await stamp("ticket")
    counter().release()


@pytest.mark.parametrize("day", ["monday", "tuesday"])
async def test_lock_of_its_own(day):
    lock = asyncio.Lock()

    async def enter():
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(enter(), enter())
    raise RuntimeError(f"{lock} is bound to a different event loop, says nobody but this test")
