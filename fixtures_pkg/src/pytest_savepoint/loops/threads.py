"""Threads that keep the interpreter alive after the last test, and the lines that started them."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Threads"]

_GRACE = 1.0


class Threads:
    """Remembers which line of the caller's code started a thread."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._started: weakref.WeakKeyDictionary[threading.Thread, Fact] = weakref.WeakKeyDictionary()

    def install(self, patches: Patches) -> None:
        patches.wrap(threading.Thread, "start", self._watch)

    def _watch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def start(thread: threading.Thread) -> None:
            self._remember(thread, sys._getframe(1))  # noqa: SLF001 # who starts it
            original(thread)

        return start

    @harmless
    def _remember(self, thread: threading.Thread, frame: FrameType) -> None:
        sites, fixture = self._caller.look(frame, 1)
        if sites:
            self._started[thread] = {"site": sites[0], "fixture": fixture, "test": self._recorder.test}

    @harmless
    def note_left(self) -> None:
        """Record the threads for which the interpreter would wait for ever."""
        executors = sys.modules.get("concurrent.futures.thread")
        joined_at_exit = getattr(executors, "_threads_queues", {})
        for thread in threading.enumerate():
            started = self._started.get(thread)
            if started is None or thread.daemon or thread in joined_at_exit:
                continue
            thread.join(_GRACE)
            if thread.is_alive():
                self._recorder.note("thread_left", name=thread.name, type=type(thread).__qualname__, started=started)
