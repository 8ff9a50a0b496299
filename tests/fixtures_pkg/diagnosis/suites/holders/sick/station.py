import asyncio
import functools
from contextvars import ContextVar


class Platform:
    gate = asyncio.Lock()  # SP107
    _door = None

    @classmethod
    def door(cls):
        if cls._door is None:
            cls._door = asyncio.Lock()  # SP107
        return cls._door


class Clerk:
    def __init__(self):
        self.desk = asyncio.Lock()


CLERKS = {"north": Clerk(), "south": Clerk()}  # SP107

bell = ContextVar("bell", default=asyncio.Lock())  # SP107


def one_at_a_time(function):
    turn = asyncio.Lock()  # SP107

    @functools.wraps(function)
    async def waiting(*args):
        async with turn:
            return await function(*args)

    return waiting


@one_at_a_time
async def announce(text):
    await asyncio.sleep(0)
    return text


async def pass_through(lock):
    async with lock:
        await asyncio.sleep(0)


async def stamp(
    text,
    *,
    pad=asyncio.Lock(),  # SP107
):
    await pass_through(pad)
    return text


@functools.lru_cache
def counter():
    return asyncio.Lock()  # SP107


class Telegraph:
    lines = {}  # SP101

    @classmethod
    async def send(cls, port, text):
        if "north" not in cls.lines:
            cls.lines["north"] = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = cls.lines["north"]
        writer.write(text)
        return await reader.readline()
