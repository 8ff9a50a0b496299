"""Tests named `..._fails` fail for an ordinary reason: what they expect is wrong."""

import asyncio

import pytest
from ledger import Page, new_session, page_titled, read, read_alone
from sqlalchemy.exc import IntegrityError


async def test_everybody_reads_alone_fails():
    assert sum(await asyncio.gather(read_alone(), read_alone())) == 7


async def test_one_after_the_other_fails(session):
    for _ in range(2):
        await asyncio.create_task(read(session))
    assert await read(session) == 7


async def test_title_is_unique(readers, writers):
    await read(readers)
    writers.add_all([Page(title="cover"), Page(title="cover")])
    with pytest.raises(IntegrityError):
        await writers.flush()
    await writers.rollback()


async def test_page_is_added_twice_fails(readers, writers):
    await read(readers)
    writers.add_all([Page(title="index"), Page(title="index")])
    try:
        await writers.flush()
    finally:
        await writers.rollback()


async def test_task_has_a_session_of_its_own_fails(session):
    reading = asyncio.create_task(read_alone())
    await read(session)
    assert await reading == 7


async def test_title_is_changed_and_read_anew_fails():
    async with new_session() as mine, new_session() as other:
        mine.add(Page(id=70, title="draft"))
        await mine.commit()
        (await page_titled(other, 70)).title = "final"
        await other.commit()
        mine.expire_all()
        page = await page_titled(mine, 70)
        assert page.title == "printed"
