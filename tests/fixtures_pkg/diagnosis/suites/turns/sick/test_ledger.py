import asyncio

import pytest
from ledger import Page, narrow_session, page_titled, read, read_alone
from sqlalchemy.exc import IntegrityError


async def test_page_is_read_beside_the_test(session):
    reading = asyncio.create_task(read(session))  # SP301
    await asyncio.sleep(0)
    await read(session)
    await reading


async def test_some_read_alone_and_some_together(session):
    alone = asyncio.gather(read_alone(), read_alone())
    together = asyncio.gather(read(session), read(session))  # SP301
    await asyncio.gather(alone, together)


async def test_title_is_unique(readers, writers):
    await read(readers)
    writers.add_all([Page(title="cover"), Page(title="cover")])
    with pytest.raises(IntegrityError):
        await writers.flush()


async def test_page_is_added(readers, writers):
    await read(readers)
    writers.add(Page(title="index"))
    await writers.flush()


async def test_title_is_changed():
    async with narrow_session() as mine, narrow_session() as other:
        mine.add(Page(id=70, title="draft"))
        await mine.commit()
        page = await page_titled(mine, 70)
        await mine.commit()
        (await page_titled(other, 70)).title = "final"
        await other.commit()
        page = await page_titled(mine, 70)
        assert page.title == "final"
