"""Calls that held an event loop: a second thread looks now and then whether the loop still turns."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.other_thread import OtherThread, Place, site_at
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Blocking"]

_EVERY = 0.04
_WORTH_NOTING = 0.1
_MOST_PLACES = 8


class Blocking:
    """Samples the main thread while its loop does not turn; costs a counter per turn otherwise."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._turns = 0
        self._turning = False
        self._main = OtherThread(threading.main_thread().ident or 0)
        self._held: list[Place] | None = None
        self._since = 0.0
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
        self._main.close()

    def _watch_turns(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _run_once(loop: Any) -> None:
            self._turns += 1
            self._turning = True
            try:
                original(loop)
            finally:
                self._turning = False

        return _run_once

    def _look(self) -> None:
        turns = -1
        while not self._stop.wait(_EVERY):
            if turns != self._turns or not self._turning:
                self.settle()
                turns = self._turns
                continue
            places = self._inside_callback()
            if places:
                # A turn may begin with waiting for events, so only what was seen counts.
                self._since = self._since if self._held else time.monotonic()
                self._held = places

    def settle(self) -> None:
        """Note what has held the loop until now; a failing test asks, since it may be over before the next look."""
        held, self._held = self._held, None
        if held:
            self._note(held, time.monotonic() - self._since)

    @harmless
    def _inside_callback(self) -> list[Place] | None:
        """The caller's lines when the main thread runs a callback of a loop, and does not wait for events."""
        places = self._main.places()
        if not any(each.function == "_run" and each.filename.endswith("events.py") for each in places):
            return None
        return [each for each in places if self._caller.owns(each.filename)][:_MOST_PLACES]

    @harmless
    def _note(self, places: list[Place], seconds: float) -> None:
        if seconds >= _WORTH_NOTING:
            sites = [site_at(each, self._caller.path(each.filename)) for each in places]
            self._recorder.note("held", seconds=round(seconds, 3), sites=sites)
