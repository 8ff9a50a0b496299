"""Waiting to the end of what the sandbox says to the server itself: cut off by a cancellation, half of it would be said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["Whole", "in_a_task"]


async def in_a_task(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end in a task of its own; a cancellation of the one that waits is heard afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


class Whole:
    """The same without a task, which would cost more than the statement.

    Only for work that waits for futures that nobody but the server's answer ends: a timeout of its own is taken for a
    cancellation.
    """

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, None]:
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                awaited = self._work.send(None)
            except StopIteration:
                break
            # The task must not find the future itself, which it would cancel; it waits for one that ends with it.
            awaited._asyncio_future_blocking = False
            while not awaited.done():
                ended = awaited.get_loop().create_future()
                awaited.add_done_callback(lambda _, ended=ended: ended.done() or ended.set_result(None))
                try:
                    yield from ended
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled
