"""Every task: the line that made it, and whether it outlived the test it was made in."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import re
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CellType, FrameType, FunctionType, ModuleType
from typing import Any

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller, site_of
from pytest_savepoint.loops.makers import Loops
from pytest_savepoint.loops.patches import Patches, harmless
from pytest_savepoint.loops.reach import reached

__all__ = ["Tasks", "current_task", "suspended"]

_TELLS_CONTEXT = hasattr(asyncio.Task, "get_context")  # Python 3.12
_SQLALCHEMY = f"{os.sep}sqlalchemy{os.sep}"
_WAITING_LINES = 8
_SHORTEST, _LONGEST = 3, 80
_UNCHANGING = (type(None), str, bytes, int, float, tuple, type, FunctionType, BuiltinFunctionType, ModuleType)


class Tasks:
    """Remembers where tasks that the caller's code made come from; keeps none of them alive."""

    def __init__(self, recorder: Recorder, caller: Caller, loops: Loops) -> None:
        self._recorder = recorder
        self._caller = caller
        self._loops = loops
        self._made: weakref.WeakKeyDictionary[Any, Fact] = weakref.WeakKeyDictionary()
        self._contexts: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()
        self._latest: deque[Fact] = deque(maxlen=400)
        self._count = 0
        self._outliving: list[tuple[weakref.ref[Any], Fact]] = []  # at the start of this test, the tasks of others

    def install(self, patches: Patches) -> None:
        """Every way to make a task ends in the loop's create_task, except on loops written in C."""
        patches.wrap(asyncio.BaseEventLoop, "create_task", self._watch)
        patches.wrap(asyncio, "create_task", self._watch_foreign)
        patches.wrap(asyncio.BaseEventLoop, "call_exception_handler", self._watch_errors)

    def _watch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def create_task(*args: Any, **kwargs: Any) -> Any:
            task = original(*args, **kwargs)
            self._remember(task)
            return task

        return create_task

    def _watch_foreign(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def create_task(*args: Any, **kwargs: Any) -> Any:
            task = original(*args, **kwargs)
            if not isinstance(task.get_loop(), asyncio.BaseEventLoop):
                self._remember(task)
            return task

        return create_task

    def _watch_errors(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call_exception_handler(loop: Any, context: dict[str, Any]) -> None:
            self._note_error(context)
            original(loop, context)

        return call_exception_handler

    @harmless
    def _note_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._recorder.note(
            "loop_error",
            message=str(context.get("message"))[:300],
            type=type(error).__name__ if error is not None else None,
            error=str(error)[:300],
            made=self._made_once(context.get("task") or context.get("future")),
            loop_closed=_loop_closed(context.get("task")),
        )

    def _made_once(self, task: Any) -> Fact | None:
        """Where a task that is just being collected comes from; no weak reference knows it any more."""
        made = self.made(task)
        return made or next((each for each in reversed(self._latest) if each["identity"] == id(task)), None)

    @harmless
    def _remember(self, task: Any) -> None:
        frame = sys._getframe(3)  # noqa: SLF001 # the line that makes the task
        # A task made by a plugin or a library directly is theirs to end.
        for _ in range(5):
            if self._caller.owns(frame.f_code.co_filename):
                break
            # SQLAlchemy ends an `async with` in a task of its own.
            if frame.f_back is None or _SQLALCHEMY in frame.f_code.co_filename:
                return
            frame = frame.f_back
        else:
            return
        self._count += 1
        (site, *_), fixture = self._caller.look(frame, 1)
        self._made[task] = fact = {
            "task": self._count,
            "site": site,
            "fixture": fixture,
            "test": self._recorder.test,
            "when": self._recorder.when,
            "identity": id(task),
        }
        self._latest.append(fact)
        if not _TELLS_CONTEXT:
            self._contexts[task] = _plain(contextvars.copy_context())

    def begin(self) -> None:
        """A test starts: what others' tasks have in hand that still run is known to be theirs."""
        self._outliving.clear()
        if not self._made:
            return  # as in most suites; to go through none takes ten times as long
        self._outliving = [
            (weakref.ref(task), {**made, "in_hand": self._in_hand(task), "works_on": self._works_on(task)})
            for task, made in self.unfinished()
            if made["when"] == "call"
        ]

    def _in_hand(self, task: Any) -> list[str]:
        """The texts among the variables of a waiting task."""
        frames = (each for each in suspended(task) if self._caller.owns(each.f_code.co_filename))
        texts = (each for frame in frames for each in frame.f_locals.values() if isinstance(each, str))
        return [each for each in texts if _SHORTEST <= len(each) <= _LONGEST]

    def _works_on(self, task: Any) -> set[int]:
        """The objects that the code of a waiting task has at hand or names, by identity."""
        frames = [each for each in suspended(task) if self._caller.owns(each.f_code.co_filename)]
        named = [each.f_globals.get(name) for each in frames for name in each.f_code.co_names]
        things = [*named, *(each for frame in frames for each in frame.f_locals.values())]
        return {id(each) for each in things if not isinstance(each, _UNCHANGING)}

    def ended(self, compared: str, named: dict[str, int]) -> list[Fact]:
        """The tasks of earlier tests that ended in this one and had to do with what it looks at.

        :param compared: both sides of the failing assertion as text.
        :param named: the globals that the failing function names, by identity.
        """
        found = []
        for reference, made in self._outliving:
            task = reference()
            shown = [each for each in made["in_hand"] if _shows(compared, each)]
            works_on = [name for name, identity in named.items() if identity in made["works_on"]]
            if (shown or works_on) and (task is None or task.done()):
                found.append({**made, "in_hand": shown, "works_on": works_on})
        return found

    def count(self) -> int:
        """How many tasks of the caller are alive, done or not."""
        return len(self._made)

    def made(self, task: Any) -> Fact | None:
        """Where a task of the caller comes from; None for the tasks of plugins and libraries."""
        return None if task is None else self._made.get(task)

    def made_in(self, test: str) -> list[Fact]:
        """The latest tasks that were made during a test, done or not."""
        return [dict(each) for each in self._latest if each["test"] == test]

    def of(self, task: Any) -> Fact | None:
        """Where a task comes from, and how it is now."""
        if not isinstance(task, asyncio.Task):
            return None
        made = self._made.get(task, {})
        state = "pending" if not task.done() else "cancelled" if task.cancelled() else "done"
        return {
            **made,
            "name": task.get_name(),
            "state": state,
            "cancelling": getattr(task, "cancelling", int)(),
            "loop": self._loops.of(task.get_loop()),
            "waiting_at": self._waiting_at(task),
        }

    def _waiting_at(self, task: Any) -> list[Fact]:
        """The caller's lines in which a pending task is suspended, outermost first."""
        sites: list[Fact] = []
        for frame in () if task.done() else suspended(task):
            if self._caller.owns(frame.f_code.co_filename) and len(sites) < _WAITING_LINES:
                site = site_of(frame.f_code, frame.f_lineno, self._caller.path(frame.f_code.co_filename))
                sites.append({**site, "function": self._caller.function(frame.f_code)})
        return sites

    def died(self) -> list[Fact]:
        """The caller's tasks that ended with an exception at which nobody has looked."""
        found = []
        for task, made in list(self._made.items()):
            # Asking the task would count as looking.
            error = getattr(task, "_exception", None)
            if error is not None and getattr(task, "_log_traceback", False):
                found.append({**made, "type": type(error).__name__, "error": str(error)[:300]})
        return found

    def carried(self, compared: str) -> list[Fact]:
        """The caller's tasks whose context variables hold what a failing assertion shows, with the variables' names.

        :param compared: both sides of the assertion as text.
        """
        found = []
        for task, made in list(self._made.items()):
            values = _plain(task.get_context()) if _TELLS_CONTEXT else self._contexts.get(task, {})
            unset = {name: each for name, each in self._defaults(task).items() if name not in values}
            names, defaults = ([n for n, v in each.items() if _shows(compared, v)] for each in (values, unset))
            if names or defaults:
                found.append({**made, "variables": names, "defaults": defaults})
        return found

    def _defaults(self, task: Any) -> dict[str, str]:
        """What the context variables that a waiting task's own code reads are when nobody has set them."""
        frames = [] if task.done() else [each for each in suspended(task) if self._caller.owns(each.f_code.co_filename)]
        things = [each for frame in frames for each in (_function(frame), *frame.f_locals.values())]
        unset = contextvars.Context()
        for variable in reached(things, self._caller).variables.values():
            with contextlib.suppress(LookupError):  # it has no default
                unset.run(variable.set, unset.run(variable.get))
        return _plain(unset)

    def unfinished(self) -> list[tuple[Any, Fact]]:
        """The caller's tasks that are not done, and where each comes from."""
        return [(task, made) for task, made in list(self._made.items()) if not task.done()]

    def pending(self) -> list[Fact]:
        """The caller's tasks that are not done, and how each is now."""
        return [fact for task, _ in self.unfinished() if (fact := self.of(task)) is not None]


def _shows(compared: str, value: str) -> bool:
    return re.search(rf"\b{re.escape(value)}\b", compared) is not None


def _plain(context: contextvars.Context) -> dict[str, str]:
    """The short values among the context variables; a task's own context could keep the task alive."""
    return {variable.name: str(value) for variable, value in context.items() if isinstance(value, str | int)}


def _function(frame: FrameType) -> FunctionType:
    """The function that a frame runs, for who looks at what it names."""
    cells = tuple(CellType() for _ in frame.f_code.co_freevars)
    return FunctionType(frame.f_code, frame.f_globals, frame.f_code.co_name, None, cells)


def _loop_closed(task: Any) -> bool:
    return isinstance(task, asyncio.Task) and task.get_loop().is_closed()


def suspended(task: Any) -> Iterator[FrameType]:
    """The frames in which a task is suspended, outermost first."""
    awaited = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            yield frame
        awaited = getattr(awaited, "cr_await", None)


def current_task() -> Any:
    """The task that runs in this thread, or None; also where no loop runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
