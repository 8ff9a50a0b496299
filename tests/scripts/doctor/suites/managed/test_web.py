import asyncio

from sqlalchemy import text
from web import app, current_user, now


async def test_now():
    assert await now()


async def test_later():
    assert await now()


async def test_override_is_put_back_by_savepoint():
    app.dependency_overrides[current_user] = lambda: "boss"


async def test_one_session_is_still_one(db_session):
    await asyncio.gather(*(db_session.scalar(text("select 1")) for _ in range(2)))  # SP301


async def test_user_is_the_first(db_session):
    user = User(name="ann")
    db_session.add(user)
    await db_session.commit()
    assert user.id == 1  # SP512


class User:
    pass
