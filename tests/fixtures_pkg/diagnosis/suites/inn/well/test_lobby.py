import asyncio

from inn import arrivals, arrive, porters


async def test_arrival():
    arrive(3)
    await asyncio.gather(*porters)
    assert arrivals == [3]


async def test_two_arrivals_fails():
    arrive(4)
    await asyncio.gather(*porters)
    assert arrivals == [4]


async def test_sign_fails(sign, named):
    assert sign.name != "The Bear"
