"""One transaction of the application, and whether another may wait for it."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from pytest_savepoint.isolation.origin import Origin, find_origin

__all__ = ["Transaction"]

_writing_above: contextvars.ContextVar[tuple[Transaction, ...]] = contextvars.ContextVar("savepoint_open", default=())


class Transaction:
    """One transaction of one session of the application, from its first statement to its commit or rollback."""

    __slots__ = (
        "absorbed",
        "broken_by",
        "committed",
        "driver",
        "failed",
        "level",
        "opener",
        "read_only",
        "task",
        "waiting",
        "wrote",
    )

    def __init__(self, driver: str, *, read_only: bool = False) -> None:
        self.driver = driver
        self.opener: Origin = find_origin()
        self.read_only = read_only
        self.task: asyncio.Task[Any] | None = None
        self.level: int | None = None
        """Its place on the stack of savepoints; None while it has only read."""
        self.wrote = False
        self.failed = False
        self.committed = False
        """It has committed, but a transaction nested in it is still open."""
        self.absorbed: Transaction | None = None
        """One that committed inside this one while it was still open."""
        self.broken_by: Transaction | None = None
        """The transaction around it, which was rolled back while this one was open."""
        self.waiting: asyncio.Event | None = None

    def __str__(self) -> str:
        task = f"task {self.task.get_name()}" if self.task is not None else "no task"
        return f"the session used at {self.opener} ({task})"

    def is_below(self, other: Transaction) -> bool:
        """The other's savepoint was set later, so its changes would be undone with this one's."""
        return self.level is not None and other.level is not None and self.level < other.level

    def begin_writing(self) -> None:
        """Let the tasks that this one starts from now on know that they are nested in it."""
        self.wrote = True
        _writing_above.set((*(other for other in _writing_above.get() if other.level is not None), self))

    def end(self) -> None:
        """It is over, committed or not."""
        self.level = None
        self.wrote = self.failed = False
        self.wake_waiting()

    def wake_waiting(self) -> None:
        """Let whoever waits for this transaction look again."""
        if self.waiting is not None:
            self.waiting.set()
            self.waiting = None

    async def wait_for_end(self, timeout: float) -> bool:
        """Wait until it has ended or its task has; tell whether that came in time.

        :param timeout: seconds.
        """
        if self.level is None:
            return True
        if self.waiting is None:
            self.waiting = asyncio.Event()
        ended = asyncio.ensure_future(self.waiting.wait())
        parties: set[asyncio.Future[Any]] = {ended} if self.task is None else {ended, self.task}
        try:
            done, _ = await asyncio.wait(parties, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        return bool(done)

    def may_wait_for(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this transaction's end may depend on that task, so that the task must not wait for it.

        That is so for its own task, for tasks that its task started since it wrote, and when its task has ended.
        """
        if self.task is None or self.task is task or self.task.done() or self in _writing_above.get():
            return True
        # A loop that is blocked while another runs (Starlette's TestClient in an async test) cannot end anything.
        return self.task.get_loop() is not asyncio.get_running_loop()
