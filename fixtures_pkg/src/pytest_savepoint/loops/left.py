"""What tests left changed for the whole process: environment, working directory, random generator, root log handlers."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any, NamedTuple

from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.changing_lines import line_that_changes
from pytest_savepoint.loops.frames import Caller, code_of, site_of
from pytest_savepoint.loops.modules import Kept, Modules
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Left"]

# The suite may put another in its place.
_ENVIRONMENT = os.environ
# pytest sets it in every phase.
_RUNNING = "PYTEST_CURRENT_TEST"
_MOST = 50

Key = tuple[str, str]
"""What was left, and its name among others of the kind."""


class _Change(NamedTuple):
    """The first change of a test to one thing; the value stays in this process, since it may be a secret."""

    before: Any
    site: Fact | None
    fixture: Fact | None


class Left:
    """Looks when something is changed by a call, so that a test that changes nothing pays next to nothing."""

    def __init__(self, recorder: Recorder, caller: Caller, describe: Callable[[], Fact | None]) -> None:
        """:param describe: gives the function of the test that runs."""
        self._recorder = recorder
        self._caller = caller
        self._describe = describe
        self.reachable: Callable[[], list[Any]] = list
        """Gives the functions that this test can get at: the line may be there, where no call has told it."""
        self._changes: dict[Key, _Change] = {}  # of this test
        self._at_first: dict[Key, Any] = {}  # what was there before any test changed it
        self._handlers = logging.root.handlers.copy()
        self.modules: Modules | None = None
        """What the caller's modules keep, which takes too long to look at except in reruns."""
        self.living: dict[Key, Fact] = {}
        """What tests of this process have left and nobody has put back."""

    def install(self, patches: Patches) -> None:
        patches.wrap(type(_ENVIRONMENT), "__setitem__", self._watch_setting)
        patches.wrap(type(_ENVIRONMENT), "__delitem__", self._watch_removing)
        patches.wrap(os, "chdir", self._watch_directory)
        patches.wrap(random, "seed", self._watch_seed)
        patches.wrap(random, "setstate", self._watch_state)

    def begin(self) -> None:
        """A test starts."""
        self._changes.clear()  # what was changed between tests is no test's doing
        if self.modules is not None:
            self.modules.begin()

    def end(self) -> None:
        """A test is over, with its teardown; what is still changed is left."""
        if self._changes or self.modules is not None or logging.root.handlers != self._handlers:
            self._end()

    def _end(self) -> None:
        changes, self._changes = self._changes, {}
        if (before := _without_pytests(self._handlers)) != _root_handlers():
            changes["handlers", ""] = _Change(before, None, None)
        # pytest's own come and go with each phase, but for those of the whole session.
        self._handlers = logging.root.handlers.copy()
        if self.modules is not None:
            changes |= {("module", name): _Change(was, None, None) for name, was in self.modules.changed().items()}
        for key, change in changes.items():
            self._settle(key, change)

    def _settle(self, key: Key, change: _Change) -> None:
        now = self._read(key)
        if now == self._at_first.setdefault(key, change.before):
            self.living.pop(key, None)
        elif now != change.before and len(self.living) < _MOST:
            what, name = key
            site = change.site or self._cached(change.before) or line_that_changes(what, name, self.reachable(), self._caller)
            how = "set" if change.before is None else "removed" if now is None else "changed"
            if isinstance(change.before, Kept) and (change.before.is_cache or change.before.value is None):
                how = "filled"
            self.living[key] = self._recorder.note(
                "left", what=what, name=name, how=how, site=site, fixture=change.fixture, function=self._describe()
            )

    def _cached(self, kept: Any) -> Fact | None:
        """The function that remembers what it returned, where that is what was filled."""
        code = code_of(kept.value) if isinstance(kept, Kept) and kept.is_cache else None
        return site_of(code, code.co_firstlineno, self._caller.path(code.co_filename)) if code is not None else None

    @harmless
    def put_back(self, keys: Collection[Key]) -> None:
        """Give things that were left the values that they had before, which shows whether a test fails for them."""
        for what, name in keys:
            before = self._at_first[what, name]
            if what == "environment" and before is None:
                del _ENVIRONMENT[name]
            elif what == "environment":
                _ENVIRONMENT[name] = before
            elif what == "directory":
                os.chdir(before)
            elif what == "random":
                random.setstate(before)
            elif what == "handlers":
                pytests = [each for each in logging.root.handlers if each not in _root_handlers()]
                logging.root.handlers[:] = before + pytests
            else:
                before.put_back()

    def _read(self, key: Key) -> Any:
        what, name = key
        if what == "environment":
            return _ENVIRONMENT.get(name)
        if what == "directory":
            return os.getcwd()  # noqa: PTH109 # one call less than by a path
        if what == "random":
            return random.getstate()
        return _root_handlers() if what == "handlers" else self.modules and self.modules.now(name)

    @harmless
    def _before(self, what: str, name: str, frame: FrameType) -> None:
        if (what, name) in self._changes:
            return
        sites, fixture = self._caller.look(frame, 1)
        # What a plugin does by itself is no deed of the caller's.
        if sites:
            self._changes[what, name] = _Change(self._read((what, name)), sites[0], fixture)

    def _watch_setting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def set_variable(environment: Any, name: Any, value: Any) -> None:
            if name != _RUNNING:
                self._before("environment", name, sys._getframe(1))  # noqa: SLF001 # who changes it
            original(environment, name, value)

        return set_variable

    def _watch_removing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def remove_variable(environment: Any, name: Any) -> None:
            if name != _RUNNING:
                self._before("environment", name, sys._getframe(1))  # noqa: SLF001
            original(environment, name)

        return remove_variable

    def _watch_directory(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def chdir(path: Any) -> None:
            self._before("directory", "", sys._getframe(1))  # noqa: SLF001
            original(path)

        return chdir

    def _watch_seed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def seed(*args: Any, **kwargs: Any) -> None:
            frame = sys._getframe(1)  # noqa: SLF001
            # A plugin that seeds before each test is asked for nothing more.
            if self._caller.owns(frame.f_code.co_filename):
                self._before("random", "", frame)
            original(*args, **kwargs)

        return seed

    def _watch_state(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def setstate(state: Any) -> None:
            frame = sys._getframe(1)  # noqa: SLF001
            if self._caller.owns(frame.f_code.co_filename):
                self._before("random", "", frame)
                self._forget_state(state)
            original(state)

        return setstate

    def _forget_state(self, state: Any) -> None:
        change = self._changes.get(("random", ""))
        if change is not None and change.before == state:
            del self._changes["random", ""]


def _root_handlers() -> list[logging.Handler]:
    return _without_pytests(logging.root.handlers)


def _without_pytests(handlers: list[logging.Handler]) -> list[logging.Handler]:
    return [each for each in handlers if not type(each).__module__.startswith("_pytest.")]
