import asyncio
import contextvars
import os
import time

import httpx
import redis.asyncio as redis
import requests
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"])  # SP101
sessions = async_sessionmaker(engine)
lock = asyncio.Lock()  # SP107
tariffs = httpx.AsyncClient(base_url="http://prices.test")  # SP101
queue = redis.from_url("redis://queue")  # SP101
region = contextvars.ContextVar("region", default="eu")


async def price(name):
    await queue.incr(name)
    return (await tariffs.get(f"/{name}")).json()


class Crate:
    async def fill(self):
        async with lock:
            await asyncio.sleep(0)

    async def _note(self):
        await asyncio.sleep(0)

    async def close(self):
        self._note()  # SP403


class Courier:
    def __init__(self):
        self._task = None

    async def send(self):
        if not self._task:
            self._task = asyncio.create_task(self._work())  # SP108

    async def _work(self):
        while True:
            try:
                await asyncio.sleep(1)
            except (ValueError, asyncio.CancelledError):  # SP405
                continue


courier = Courier()


async def stock(name):
    async with sessions() as session:
        return await session.scalar(text("select stock from crate where name = :n"), {"n": name})


def label():
    time.sleep(0.2)  # SP401


async def send_label():
    label()


async def fetch_price():
    return requests.get("http://prices.test")  # SP401
