import asyncio

import anyio
from backstage import Numbers, Plays, latest, seats, visit
from theatre import Meeting, seats_of, sell


async def test_visitor(visitor):
    assert (await visitor.get("/office")).json() == 1


async def test_visit():
    async with visit() as visitor:
        assert (await visitor.get("/office")).json() == 1


def test_browser(browser):
    assert browser.get("/office").json() == 1


async def test_two_visitors(open_house):
    answers = await asyncio.gather(open_house.get("/office"), open_house.get("/office"))
    assert [each.json() for each in answers] == [1, 1]


async def test_seats():
    assert await seats("Hamlet") == 9


async def test_new_play(session):
    assert await Plays(session).put_on("Faust") == "FAUST"


async def test_seats_of_latest():
    assert seats_of(await latest()) == 9


async def test_two_sales():
    meeting = Meeting(2)
    async with anyio.create_task_group() as sales:
        sales.start_soon(sell, 1, meeting)
        sales.start_soon(sell, 1, meeting)


async def test_stage(stage):
    assert stage


async def test_numbers(connection):
    numbers = Numbers(connection)
    assert await asyncio.gather(numbers.one(), numbers.one()) == [1, 1]  # SP201
