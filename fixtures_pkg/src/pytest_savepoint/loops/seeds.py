"""Who set the state of Python's random generator, from which everybody draws after that."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytest_savepoint.evidence import Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Seeds"]


class Seeds:
    """Records the caller's own calls of `random.seed` and `random.setstate`."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller

    def install(self, patches: Patches) -> None:
        for name in ("seed", "setstate"):
            patches.wrap(random, name, self._watch)

    def _watch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def seed(*args: Any, **kwargs: Any) -> Any:
            self._note(sys._getframe(1))  # noqa: SLF001 # who sets it
            return original(*args, **kwargs)

        return seed

    @harmless
    def _note(self, frame: FrameType) -> None:
        # A plugin that seeds before each test is no deed of the caller's.
        if self._caller.owns(frame.f_code.co_filename):
            sites, fixture = self._caller.look(frame, 1)
            self._recorder.note("random_seeded", site=sites[0] if sites else None, fixture=fixture)
