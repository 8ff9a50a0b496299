"""What hides the fault from the test that meets it."""

import httpx
from sqlalchemy import select, text
from theatre import Play, app, seats_of, sessions, title_of

_latest = None


def visit():
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://theatre")  # SP701


class Plays:
    def __init__(self, session):
        self.session = session

    async def by_title(self, title):
        return await self.session.scalar(select(Play).where(Play.title == title))  # SP304

    async def put_on(self, title):
        play = Play(title=title)
        self.session.add(play)
        await self.session.commit()
        return title_of(play)  # SP305


async def seats(title):
    async with sessions() as session:
        return seats_of(await Plays(session).by_title(title))


async def latest():
    global _latest
    if _latest is None:
        async with sessions() as session:
            _latest = await session.scalar(select(Play))  # SP303
    return _latest


class Numbers:
    def __init__(self, connection):
        self.connection = connection

    async def one(self):
        async with self.connection.begin():
            return await self.connection.scalar(text("select 1"))
