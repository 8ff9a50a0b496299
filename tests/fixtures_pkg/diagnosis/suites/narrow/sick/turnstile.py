import asyncio

ENTRANCE = asyncio.Semaphore(1)  # SP107


async def enter(name, log):
    async with ENTRANCE:
        await asyncio.sleep(0)
        log.append(name)
