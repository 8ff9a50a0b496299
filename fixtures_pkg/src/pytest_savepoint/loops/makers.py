"""Every event loop of this process: who made it, how wide it is, and whether it still lives."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller, walk
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Loops"]

_RUNNERS = (
    "asyncio/runners.py",
    "asyncio/base_events.py",
    "asyncio/events.py",
    "asyncio/tasks.py",
    "asyncio/unix_events.py",
)


class Loops:
    """Knows loops by number; holds none of them alive."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._facts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Fact] = weakref.WeakKeyDictionary()
        self._count = 0
        self.unset: Fact | None = None
        """Who last left the main thread without a current loop."""

    def install(self, patches: Patches) -> None:
        for module in (asyncio.events, asyncio):
            patches.wrap(module, "set_event_loop", self._watch_current_loop)
        patches.wrap(asyncio.BaseEventLoop, "run_forever", self._watch_runs)

    def _watch_current_loop(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def set_event_loop(loop: Any) -> None:
            original(loop)
            if threading.current_thread() is threading.main_thread():
                self.unset = self._unsetter(sys._getframe(1)) if loop is None else None  # noqa: SLF001 # who called

        return set_event_loop

    def _watch_runs(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def run_forever(loop: asyncio.AbstractEventLoop) -> None:
            self._caller.forget_run(loop)
            original(loop)

        return run_forever

    @harmless
    def _unsetter(self, frame: FrameType) -> Fact:
        site = self._caller.site(frame)
        return {"site": site, "by": f"{site['path']}:{site['line']}" if site else "a plugin's runner"}

    def adopt(self, loop: asyncio.AbstractEventLoop, maker: str, scope: str) -> None:
        """Remember a loop that a plugin made for all tests of a scope."""
        self._number(loop, maker=maker, scope=scope)

    def running(self, frame: FrameType | None = None) -> Fact | None:
        """What is known of the loop that runs in this thread; None when none does."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 # get_running_loop, without raising
        return None if loop is None else self.of(loop, frame)

    def of(self, loop: Any, frame: FrameType | None = None) -> Fact | None:
        """What is known of a loop. One seen for the first time is named after whoever runs it in this stack."""
        if not isinstance(loop, asyncio.AbstractEventLoop):
            return None
        fact = self._facts.get(loop)
        if fact is None:
            fact = self._number(loop, **self._whose(frame or sys._getframe(1)))  # noqa: SLF001 # the stack is the evidence
        fact["closed"] = loop.is_closed()
        return dict(fact)

    def unseen(self, maker: str) -> Fact:
        """A number for a loop that was over before anybody looked at it."""
        self._count += 1
        thread = {"thread": None, "closed": True}
        return {"loop": self._count, "maker": maker, "scope": None, "site": None, "fixture": None, **thread}

    def now(self, fact: Fact | None) -> Fact | None:
        """The same fact with `closed` as it is at this moment; a loop that is gone is closed."""
        if fact is None:
            return None
        loop = next((loop for loop, known in self._facts.items() if known["loop"] == fact["loop"]), None)
        return {**fact, "closed": loop is None or loop.is_closed()}

    def _number(self, loop: asyncio.AbstractEventLoop, **known: Any) -> Fact:
        self._count += 1
        fact: Fact = {
            "loop": self._count,
            "maker": "unknown",
            "scope": None,
            "site": None,
            "fixture": None,
            "thread": threading.current_thread().name,
            "closed": loop.is_closed(),
            **known,
        }
        self._facts[loop] = fact
        return fact

    def _whose(self, frame: FrameType) -> Fact:
        """Read the stack from inside the loop to the frame that runs it."""
        inside = True
        explicit_run = False
        for each in walk(frame):
            filename = each.f_code.co_filename.replace("\\", "/")
            if filename.endswith(_RUNNERS):
                inside = False
                explicit_run |= filename.endswith("runners.py") and each.f_code.co_name == "run"
                continue
            if inside:
                continue
            if "/pytest_asyncio/" in filename:
                return {"maker": "pytest-asyncio"}
            if "/anyio/" in filename:
                on_main = threading.current_thread() is threading.main_thread()
                return {"maker": "anyio" if on_main else "portal", "site": self._caller.site(each)}
            if self._caller.owns(filename):
                maker = "asyncio.run" if explicit_run else "run_until_complete"
                return {"maker": maker, "site": self._caller.site(each), "fixture": self._caller.fixture(each)}
        return {"maker": "unknown" if inside else "thread"}
