import asyncio
import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db import pages, tag, visit


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


async def test_log(caplog):
    assert caplog.text == ""
