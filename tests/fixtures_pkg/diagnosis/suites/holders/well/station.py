import asyncio
import functools
from contextvars import ContextVar


class Platform:
    gate = asyncio.Lock()


bell = ContextVar("bell", default=asyncio.Lock())


async def stamp(text, *, pad=asyncio.Lock()):
    async with pad:
        await asyncio.sleep(0)
    return text


@functools.lru_cache
def counter():
    return asyncio.Lock()
