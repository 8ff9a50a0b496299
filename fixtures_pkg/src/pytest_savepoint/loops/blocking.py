"""Calls that held an event loop: a second thread looks now and then whether the loop still turns."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, walk
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Blocking"]

_EVERY = 0.04
_WORTH_NOTING = 0.1


class Blocking:
    """Samples the main thread while its loop does not turn; costs a counter per turn otherwise."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._turns = 0
        self._main = threading.main_thread().ident
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def install(self, patches: Patches) -> None:
        patches.wrap(asyncio.BaseEventLoop, "_run_once", self._watch_turns)
        self._thread = threading.Thread(target=self._look, name="savepoint-blocking", daemon=True)
        self._thread.start()

    def uninstall(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch_turns(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _run_once(loop: Any) -> None:
            self._turns += 1
            original(loop)

        return _run_once

    def _look(self) -> None:
        turns, since, held = -1, 0.0, None
        while not self._stop.wait(_EVERY):
            now = time.monotonic()
            if turns != self._turns:
                if held is not None:
                    self._note(held, now - since)
                turns, since, held = self._turns, now, None
            else:
                held = self._inside_callback() or held

    @harmless
    def _inside_callback(self) -> list[Fact] | None:
        """The caller's lines when the main thread runs a callback of a loop, and does not wait for events."""
        frame = sys._current_frames().get(self._main or 0)  # noqa: SLF001 # the documented way to see another thread
        running = any(
            each.f_code.co_name == "_run" and each.f_code.co_filename.endswith("events.py") for each in walk(frame)
        )
        return self._caller.stack(frame) if running else None

    @harmless
    def _note(self, sites: list[Fact], seconds: float) -> None:
        if seconds >= _WORTH_NOTING and sites:
            self._recorder.note("held", seconds=round(seconds, 3), sites=sites)
