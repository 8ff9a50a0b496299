import asyncio

from inn import arrivals, arrive


async def test_crowd(crowd):
    answers = await asyncio.gather(*(crowd.get(f"/double/{number}") for number in range(3)))
    assert [each.json() for each in answers] == [0, 2, 4]


async def test_sign(sign, named):
    assert sign.name == "The Bear"


async def test_arrival():
    arrive(3)
    assert arrivals == []


async def test_nobody_arrives():
    await asyncio.sleep(0.2)
    assert len(arrivals) == 0
