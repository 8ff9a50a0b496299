import asyncio

from acting import act_as
from garden.beds import praise, sow
from garden.tickets import issue, valid
from garden.web import language


async def test_gardener(client):
    act_as("Eve")
    assert (await client.get("/me")).json() == "Eve"


async def test_nobody(client):
    assert (await client.get("/me")).json() == "nobody"


def test_greeting_in_french(french):
    assert language.get() == "fr"


def test_greeting():
    assert language.get() == "en"


async def test_two_plants(client):
    assert [(await client.post("/plants", params={"name": each})).status_code for each in "ab"] == [200, 200]


async def test_plant(client):
    await client.post("/plants", params={"name": "rose"})
    assert (await client.get("/plants/1")).json()["name"] == "rose"  # SP512


async def test_praise(client):
    arrived, both = [], asyncio.Event()

    async def meet():
        arrived.append(1)
        if len(arrived) == 2:
            both.set()
        await both.wait()

    number = (await client.post("/plants", params={"name": "rose"})).json()["id"]
    await asyncio.gather(praise(number, meet), praise(number, meet))
    assert (await client.get(f"/plants/{number}")).json()["name"] == "rose!!"


async def test_seed(session):
    assert (await sow(session, "bean")).name == "bean"


async def test_ticket(session):
    session.add(issue("Ann"))
    await session.flush()
    assert await valid(session) == ["Ann"]


def test_spring(spring):
    assert spring.draw() == "water"


def test_bucket(bucket, spring):
    assert bucket == []


def test_gong(gong):
    assert gong


def test_loop(event_loop):  # SP104
    assert event_loop
