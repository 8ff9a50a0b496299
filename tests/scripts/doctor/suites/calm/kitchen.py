"""Everything here looks like a fault that the doctor knows, and is none."""

import asyncio
import contextvars
import time

import aiohttp
import httpx
import requests
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

engine = create_async_engine("postgresql+asyncpg://db/kitchen", poolclass=NullPool)
pooled = create_async_engine("postgresql+asyncpg://db/kitchen")  # no test reaches it
inside = httpx.AsyncClient(transport=httpx.ASGITransport(app=None), base_url="http://kitchen")
market = httpx.AsyncClient(base_url="http://market.test")
lock = asyncio.Lock()
language = contextvars.ContextVar("language", default="en")


async def ask_inside():
    return await inside.get("/")


async def ask_market():
    return await market.get("/")


async def cook():
    async with lock:
        return await asyncio.to_thread(time.sleep, 0.5)


def menu():
    return requests.get("http://menu.test")


async def order():
    return await asyncio.to_thread(menu)


async def waits_a_little():
    time.sleep(0.001)


async def dishes(connection):
    return (await connection.scalars(text("select name from dish order by name"))).all()


async def download(session: aiohttp.ClientSession):
    return await asyncio.gather(session.get("http://a.test"), session.get("http://b.test"))


async def stir():
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            raise
        except Exception:
            continue


class Oven:
    def heat(self):
        return self._task

    async def bake(self):
        self.heat()
