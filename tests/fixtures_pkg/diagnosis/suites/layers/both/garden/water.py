import asyncpg


class Spring:
    def __init__(self):
        self.open = True

    def draw(self):
        if not self.open:
            raise RuntimeError("the spring is closed")
        return "water"


class Pipes:
    async def lay(self, url):
        self.pool = await asyncpg.create_pool(url, min_size=1, max_size=2)

    async def remove(self):
        await self.pool.close()
