"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import asyncio

import pytest
from acting import act_as
from garden.beds import Shown, praise, sow
from garden.db import Plant, new_session
from garden.tickets import issue, stamp, valid
from garden.water import Spring
from garden.web import language
from sqlalchemy import select

kept = set()


async def test_gardener(client):
    act_as("Eve")
    assert (await client.get("/me")).json() == "Eve"


async def test_visitor_has_another_name_fails(client):
    assert (await client.get("/me")).json() == "somebody"


def test_greeting_in_french(french):
    assert language.get() == "fr"


def test_greeting_in_a_language_that_nobody_speaks_fails():
    assert language.get() == "de"


async def test_two_plants(client):
    assert [(await client.post("/plants", params={"name": each})).status_code for each in "ab"] == [200, 200]


async def test_plant_has_no_color_fails(client):
    number = (await client.post("/plants", params={"name": "rose"})).json()["id"]
    assert (await client.get(f"/plants/{number}")).json()["color"] == "red"


async def test_plant_far_away_fails(client):
    await client.post("/plants", params={"name": "rose"})
    assert (await client.get("/plants/4711")).json()["name"] == "rose"


async def test_praise_goes_too_far_fails(client):
    number = (await client.post("/plants", params={"name": "rose"})).json()["id"]
    await asyncio.gather(praise(number), praise(number))
    assert (await client.get(f"/plants/{number}")).json()["name"] == "rose!!!"


async def test_seed_has_another_name_fails(session):
    assert (await sow(session, "bean")).name == "pea"


async def test_seed_without_name_fails(session):
    await sow(session, "bean")
    Shown.model_validate({"id": 1})


async def test_ticket_of_somebody_else_fails(session):
    session.add(issue("Ann"))
    await session.flush()
    assert stamp("Ann").startswith("Ann")
    assert await valid(session) == ["Ben"]


def test_bucket_is_full_fails(bucket):
    assert bucket


def test_leaking_bucket(leaking_bucket, lake):
    assert not lake.open


def test_gong_without_bell_fails(gong):
    assert gong


async def test_gardener_starts_to_plant():
    async def plant():
        async with new_session() as session:
            session.add(Plant(name="moss"))
            await session.flush()
            planted.set()
            await stop.wait()

    planted, stop = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(plant())
    kept.add((task, stop))
    await planted.wait()


async def test_garden_has_a_palm_fails(session):
    assert "palm" in (await session.scalars(select(Plant.name))).all()


async def test_gardener_stops():
    for task, stop in kept:
        stop.set()
        await task


def test_dry_spring_fails():
    spring = Spring()
    spring.open = False
    with pytest.raises(ValueError, match="dry"):
        spring.draw()
