import asyncio
import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db import pages, start_visit, tag, visit


async def test_visits_at_once():
    await asyncio.gather(*[visit(page) for page in "abc"])


async def test_tags_at_once():
    await asyncio.gather(tag("red"), tag("red"))


async def test_pages():
    assert await pages() == ["/", "/home"]


async def test_second_visit_is_refused(session):
    with pytest.raises(IntegrityError):
        await session.execute(text("insert into visit (id) values (1)"))


async def test_visit_of_today(session, first_visit):
    assert first_visit.day == datetime.date.today()  # SP607


async def test_visit_is_seen():
    seen, task = start_visit()
    await asyncio.sleep(0.1)  # SP605
    assert seen.is_set()
    await task


async def test_event_of_this_process_is_set_at_the_next_turn():
    ready = asyncio.Event()
    asyncio.get_running_loop().call_soon(ready.set)
    await asyncio.sleep(0.01)
    assert ready.is_set()


async def test_log(caplog):
    assert caplog.text == ""
