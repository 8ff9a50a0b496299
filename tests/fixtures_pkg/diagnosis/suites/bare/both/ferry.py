"""A ferry company on asyncpg's own pools and connections, which both suites test."""

import asyncio
import contextvars
import os

import asyncpg

DSN = os.environ["DATABASE_URL"].replace("+asyncpg", "")
captain = contextvars.ContextVar("captain", default="nobody")
_routes = {}


async def open_pool():
    pool = await asyncpg.create_pool(DSN, min_size=3, max_size=3)
    await pool.execute("create table if not exists ticket (name text unique)")
    await pool.execute("create table if not exists seat (row int, name text)")
    for table in ("cargo", "whistle", "manifest", "crate"):
        await pool.execute(f"create table if not exists {table} (name text)")
    await pool.execute("create table berth (name text, coats int)")
    await pool.execute("insert into berth values ('north', 1), ('south', 1)")
    return pool


async def buy(connection, name):
    await connection.execute("insert into ticket values ($1)", name)


class Boat:
    """A boat with two seats a row, which are counted before another is given away."""

    def __init__(self, pool, meeting=None):
        self.pool = pool
        self.meeting = meeting

    async def take(self, row, name):
        async with self.pool.acquire() as connection, connection.transaction():
            if self.meeting is None:
                await connection.execute("select pg_advisory_xact_lock($1)", row)
            taken = await connection.fetchval("select count(*) from seat where row = $1", row)  # SP602
            if self.meeting is not None:
                await self.meeting.wait()
            if taken < 2:
                await connection.execute("insert into seat values ($1, $2)", row, name)


class Log:
    """Writes down what happens and who was captain then."""

    def __init__(self):
        self.lines = []

    def start(self):
        self.queue = asyncio.Queue()
        return asyncio.create_task(self._drain())  # SP708

    async def _drain(self):
        while True:
            self._write(await self.queue.get())
            self.queue.task_done()

    def _write(self, text):
        self.lines.append(f"{captain.get()}: {text}")


class Horn:
    """Sounds a while after it was asked to."""

    def __init__(self):
        self.sounded = []
        self._tasks = set()

    async def _sound(self, signal):
        await asyncio.sleep(0.05)
        self.sounded.append(signal)

    async def later(self, signal):
        task = asyncio.get_running_loop().create_task(self._sound(signal))  # SP404
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self):
        await asyncio.gather(*self._tasks)


class Gate:
    """Takes a while to open."""

    state = "shut"

    def begin(self):
        self.opening = asyncio.create_task(self._open())

    async def _open(self):
        await asyncio.sleep(0.05)
        self.state = "open"

    async def seen(self):
        await asyncio.sleep(0)
        return self.state


async def free_berth(connection):
    return await connection.fetchval("select name from berth where name <> 'east' limit 1")  # SP506


class Clerk:
    """Writes names down, one after another and not at once."""

    def __init__(self, pool):
        self.pool = pool
        self.writing = None

    def begin(self, names):
        self.writing = asyncio.create_task(self._write(names))

    async def _write(self, names):
        for name in names:
            await asyncio.sleep(0.1)
            await self.pool.execute("insert into manifest values ($1)", name)

    async def written(self):
        return await self.pool.fetchval("select count(*) from manifest")


def route(port):
    if port not in _routes:
        _routes[port] = os.environ[f"{port.upper()}_ROUTE"]  # SP706
    return _routes[port]


def forget_routes():
    _routes.clear()
