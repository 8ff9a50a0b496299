"""Deadlines of the caller's code that ended work: how long each was, and what was going on."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, site_of
from pytest_savepoint.loops.patches import Patches, harmless
from pytest_savepoint.loops.tasks import suspended

__all__ = ["Deadlines"]

_WAIT_FOR = "wait_for"
_DEEPEST = 20


class Deadlines:
    """Records each `asyncio.timeout` that expires, and each `wait_for` where that is made of one (Python 3.12)."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._entered: weakref.WeakKeyDictionary[Any, tuple[Fact, float]] = weakref.WeakKeyDictionary()

    def install(self, patches: Patches) -> None:
        timeout = getattr(asyncio, "Timeout", None)  # Python 3.11
        if timeout is not None:
            patches.wrap(timeout, "__aenter__", self._watch_entry)
            patches.wrap(timeout, "_on_timeout", self._watch_expiry)

    def _watch_entry(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def enter(timeout: Any) -> Any:
            self._remember(timeout, sys._getframe(1))  # noqa: SLF001 # who is given the deadline
            return original(timeout)

        return enter

    def _watch_expiry(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def expire(timeout: Any) -> None:
            self._note(timeout)
            original(timeout)

        return expire

    @harmless
    def _remember(self, timeout: Any, frame: FrameType) -> None:
        outer = frame.f_back if frame.f_code.co_name == _WAIT_FOR else frame
        when = timeout.when()
        if outer is not None and when is not None and self._caller.owns(outer.f_code.co_filename):
            seconds = when - asyncio.get_running_loop().time()
            self._entered[timeout] = self._site(outer), seconds

    @harmless
    def _note(self, timeout: Any) -> None:
        if timeout not in self._entered:
            return
        site, seconds = self._entered[timeout]
        frames = list(_waiting(timeout._task))  # noqa: SLF001 # no public way
        own = [frame for frame in frames if self._caller.owns(frame.f_code.co_filename)]
        self._recorder.note(
            "expired",
            site=site,
            seconds=round(seconds, 3),
            work={**self._site(own[-1]), "function": self._caller.function(own[-1].f_code)} if own else None,
            innermost={"path": frames[-1].f_code.co_filename.replace("\\", "/"), "name": frames[-1].f_code.co_name},
        )

    def _site(self, frame: FrameType) -> Fact:
        return site_of(frame.f_code, frame.f_lineno, self._caller.path(frame.f_code.co_filename))


def _waiting(task: Any) -> Iterator[FrameType]:
    """The frames in which a task is suspended, outermost first, and those of the tasks that it waits for."""
    for _ in range(_DEEPEST):
        if isinstance(task, asyncio.Task):
            yield from suspended(task)
            task = getattr(task, "_fut_waiter", None)
