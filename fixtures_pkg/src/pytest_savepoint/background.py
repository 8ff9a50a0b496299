"""An event loop of our own in a thread of our own, so that the caller's loops are never touched."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Background"]

_Result = TypeVar("_Result")


class Background:
    """Runs coroutines for blocking callers, also for callers whose own event loop is running."""

    def __init__(self) -> None:
        # Not asyncio.new_event_loop(): that asks the caller's policy, which may be uvloop's or a test's.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._serve, name="savepoint", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        """Begin `work` and give what will be its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run `work` to its end and give its result.

        :raises BaseException: whatever `work` raises.
        """
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            asyncio.run_coroutine_threadsafe(_rest_of_all(), self._loop).result()
            raise

    def close(self) -> None:
        """End the thread and the loop; connections made on it must be closed before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _rest_of_all() -> None:
    # A call that was interrupted has to clean up before anybody goes on with its connection.
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
