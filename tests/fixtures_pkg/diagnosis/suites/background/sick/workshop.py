import asyncio
import contextvars
import gc

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class Press:
    """Prints what it is given, in the background."""

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[tuple[str, asyncio.Future[str]]] = asyncio.Queue()
        self.printed: list[str] = []
        self._worker: asyncio.Task[None] | None = None

    async def print(self, text: str) -> str:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())  # SP708
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self.jobs.put((text, done))
        return await done

    async def _work(self) -> None:
        while True:
            text, done = await self.jobs.get()
            done.set_result(f"{text} for {tenant.get()}")


class Mailbox:
    def __init__(self) -> None:
        self.letters: list[str] = []

    async def _deliver(self, letter: str) -> None:
        await asyncio.sleep(0.01)
        self.letters.append(letter.upper())

    def send(self, letter) -> None:
        asyncio.ensure_future(self._deliver(letter))  # SP407


async def slow_count(seen: list[int]) -> None:
    signal = asyncio.get_running_loop().create_future()
    signal.add_done_callback(lambda _: None)
    try:
        await signal
    finally:
        seen.append(1)


def count_later(seen: list[int]) -> None:
    asyncio.create_task(slow_count(seen))  # SP406


async def tidy() -> None:
    await asyncio.sleep(0)
    gc.collect()
