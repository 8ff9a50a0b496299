"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import asyncio

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import selectinload
from theatre import Play, seats_of, title_of


def test_browser(browser):
    assert browser.get("/office").json() == 1


def test_browser_fails(browser):
    assert browser.get("/office").json() == 2


async def test_seats_fails(session):
    play = await session.scalar(select(Play).options(selectinload(Play.nights)))
    assert seats_of(play) == 8


async def test_title_after_commit_fails(session):
    play = await session.scalar(select(Play))
    await session.commit()
    await session.refresh(play)
    assert title_of(play) == "Hamlet"


async def test_stage(stage):
    async with stage:
        assert stage


async def test_begun_twice_is_refused(connection):
    async with connection.begin():
        with pytest.raises(InvalidRequestError):
            await connection.begin()


async def test_begun_twice_by_one_task_fails(connection):
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
    await connection.execute(text("select 1"))
    await connection.begin()


# The last of all, so that what the session's fixture made is gone before pytest reports it.
async def test_evening_fails(sold_out):
    pass
