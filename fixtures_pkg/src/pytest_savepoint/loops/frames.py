"""Which line of the caller's own code is behind what happens now."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import os
import sys
import sysconfig
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

from pytest_savepoint.evidence import Fact

__all__ = ["PYTESTS_RUNNER", "Caller", "code_of", "site_of", "source_line", "walk"]

_OURS = str(Path(__file__).resolve().parent.parent) + os.sep
_LIBRARIES = tuple(
    {
        os.path.realpath(sysconfig.get_path(name)) + os.sep
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if sysconfig.get_path(name)
    }
)
PYTESTS_RUNNER = os.path.join("_pytest", "runner.py")  # noqa: PTH118 # compared with names as the interpreter has them
# Where a loop calls what waits for its turn: a step of a task, or a callback.
_RUNS_CALLBACKS = asyncio.events.Handle._run.__code__  # noqa: SLF001
# Where a greenlet keeps what was seen of those who wait for it, and how much.
_OUTSIDE = "savepoint_outside"
_MOST_SITES = 8
_RUNS_CALLERS_CODE = "run_sync"
# Beyond the frames of the evidence and of SQLAlchemy's execute(), which are the same for all statements.
_PASSED = 12
_NO_WAY: tuple[None, list[int]] = (None, [])
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_ASYNCHRONOUS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class _Outside(NamedTuple):
    """Who waits for a greenlet."""

    sites: list[Fact]
    fixture: Fact | None
    runs_callers_code: bool


def walk(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and its callers as far as pytest's call of a test, fixture or module, through SQLAlchemy's greenlets."""
    greenlets = sys.modules.get("greenlet")
    parent = greenlets.getcurrent().parent if greenlets is not None else None
    while frame is not None:
        yield frame
        if _calls_for_pytest(frame.f_code):
            return
        frame = frame.f_back
        if frame is None and parent is not None:
            frame, parent = parent.gr_frame, parent.parent


def _greenlet() -> Any:
    """The greenlet that runs now, if it has a parent: the one in which SQLAlchemy runs its synchronous code."""
    greenlets = sys.modules.get("greenlet")
    inside = greenlets.getcurrent() if greenlets is not None else None
    return inside if inside is not None and inside.parent is not None else None


def _depth() -> int:
    """How many frames the function that asks has above it."""
    frame, number = sys._getframe(1), 0  # noqa: SLF001
    while frame.f_back is not None:
        frame, number = frame.f_back, number + 1
    return number


def _is_as_deep(depths: list[int]) -> bool:
    """Whether the function that asks has exactly so many frames above it as one of these numbers says, the least first."""
    try:
        for depth in depths:
            if sys._getframe(depth + 1).f_back is None:  # noqa: SLF001
                return True
    except ValueError:
        pass  # it has fewer
    return False


def _calls_for_pytest(code: CodeType) -> bool:
    """Whether this is where pytest calls a test, a fixture or a module's import."""
    return code.co_name == "from_call" and code.co_filename.endswith(PYTESTS_RUNNER)


class Caller:
    """Tells the caller's code from libraries', and fixtures and tests from other functions.

    :param root: pytest's root folder; paths in facts are relative to it.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root) + os.sep
        self._known: dict[str, bool | None] = {}
        self._folders: dict[str, str] = {}
        self._sources: dict[tuple[str, int], list[str]] = {}
        # By the code's id, because all of a code object is read to hash it; each is kept, so that the id stays its own.
        self._fixtures: dict[int, tuple[CodeType, Fact]] = {}
        self._sites: dict[tuple[int, int], tuple[CodeType, Fact]] = {}
        self._runs: weakref.WeakKeyDictionary[Any, tuple[list[Fact], Fact | None]] = weakref.WeakKeyDictionary()
        # By a line in the middle, how deep the stacks of greenlets were that had no line of the caller's.
        self._ways: dict[tuple[int, int], tuple[CodeType | None, list[int]]] = {}
        self.test: CodeType | None = None
        """The code of the test that runs: no fixture is found further out."""
        self.fixtures_run = True
        """Whether a fixture may be on the stack; while a test's own function runs, the walk out to it is saved."""

    def owns(self, filename: str) -> bool:
        """Whether a source file is the caller's and not a library's, pytest's or ours."""
        try:
            return bool(self._known[filename])
        except KeyError:
            owned = self._decide(filename)
            # A walk passes over the files with False without another look, and has to notice where others begin.
            self._known[filename] = None if filename.endswith((PYTESTS_RUNNER, _RUNS_CALLBACKS.co_filename)) else owned
            return owned

    def _decide(self, filename: str) -> bool:
        if filename.startswith("<") or not filename.endswith(".py"):
            return False
        real = self._real(filename)
        if real.startswith(_OURS) or f"{os.sep}site-packages{os.sep}" in real:
            return False
        return real.startswith(self._root) or not real.startswith(_LIBRARIES)

    def _real(self, filename: str) -> str:
        """The path without symbolic links; a thousand modules lie in a hundred folders, so those are asked for once."""
        if os.path.islink(filename):  # noqa: PTH114 # names as the interpreter has them
            return os.path.realpath(filename)
        folder, name = os.path.split(filename)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        return os.path.join(real, name)  # noqa: PTH118

    def register_fixture(self, code: CodeType, fixture: Fact) -> None:
        self._fixtures[id(code)] = code, fixture

    def registered(self, code: CodeType) -> Fact | None:
        known = self._fixtures.get(id(code))
        return known[1] if known is not None else None

    def path(self, filename: str) -> str:
        """A file's name as it stands in facts: relative to the root, with forward slashes."""
        return filename.removeprefix(self._root).replace(os.sep, "/")

    def text(self, path: str) -> str:
        """The source of a file whose name is relative to the root."""
        return "".join(linecache.getlines(os.path.join(self._root, path)))  # noqa: PTH118

    def site(self, frame: FrameType | None) -> Fact | None:
        """The innermost line of the caller's code at or above this frame."""
        sites, _ = self.look(frame, 1)
        return sites[0] if sites else None

    def stack(self, frame: FrameType | None, limit: int = 8) -> list[Fact]:
        """The caller's lines from this frame outwards."""
        return self.look(frame, limit)[0]

    def fixture(self, frame: FrameType | None) -> Fact | None:
        """The fixture inside whose function this frame runs."""
        return self.look(frame, 0)[1]

    def look(self, frame: FrameType | None, limit: int) -> tuple[list[Fact], Fact | None]:
        """The caller's lines from this frame outwards, and the fixture inside whose function it runs, in one walk."""
        inside = _greenlet()
        if inside is None:
            return self._collect(frame, limit)
        sites, fixture = self._inside(frame, limit)
        if fixture is not None or (len(sites) >= limit and not self.fixtures_run):
            return sites, fixture
        outer = self._outside(inside)
        return [*sites, *outer.sites][:limit], outer.fixture

    def look_out(self, frame: FrameType | None, limit: int) -> tuple[list[Fact], Fact | None]:
        """The same for what only SQLAlchemy does: in a greenlet that runs its code, just those who wait for it are looked at."""
        inside = _greenlet()
        outer = self._outside(inside) if inside is not None else None
        if outer is None or outer.runs_callers_code:
            return self.look(frame, limit)
        return outer.sites[:limit], outer.fixture

    def _around(self, frame: FrameType) -> tuple[list[Fact], Fact | None]:
        """The same of those who run the loop that calls from this frame; they are looked at once while it runs."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 # get_running_loop, without raising
        known = self._runs.get(loop) if loop is not None else None
        if known is None:
            known = self._collect(frame.f_back, _MOST_SITES)
            if loop is not None:
                self._runs[loop] = known
        return known

    def forget_run(self, loop: asyncio.AbstractEventLoop) -> None:
        """A loop begins to run, for whomever it may be this time."""
        self._runs.pop(loop, None)

    def _inside(self, frame: FrameType | None, limit: int) -> tuple[list[Fact], Fact | None]:
        """The same within a greenlet, where SQLAlchemy goes the same way again and again, mostly with nobody of the caller's.

        A stack that passes through the same line at the same depth and is as deep as one seen before has the same frames:
        each frame that is looked at costs as much as all else that is recorded of it.
        """
        try:
            passed = sys._getframe(_PASSED)  # noqa: SLF001
        except ValueError:
            return self._collect(frame, limit)
        way = id(passed.f_code), passed.f_lasti
        _, depths = self._ways.get(way, _NO_WAY)
        if _is_as_deep(depths):
            return [], None
        sites, fixture = self._collect(frame, limit)
        if not sites:
            self._ways[way] = passed.f_code, sorted({*depths, _depth()})
        return sites, fixture

    def _outside(self, inside: Any) -> _Outside:
        """Those who wait for a greenlet; they wait until it ends, so they are looked at once and kept with it."""
        known: _Outside | None = vars(inside).get(_OUTSIDE)
        if known is None:
            parent = inside.parent
            sites, fixture = self._collect(parent.gr_frame, _MOST_SITES)
            if parent.parent is not None:
                further = self._outside(parent)
                sites, fixture = [*sites, *further.sites][:_MOST_SITES], fixture or further.fixture
            spawned_by = parent.gr_frame.f_back if parent.gr_frame is not None else None
            runs_callers_code = spawned_by is None or spawned_by.f_code.co_name == _RUNS_CALLERS_CODE
            known = vars(inside)[_OUTSIDE] = _Outside(sites, fixture, runs_callers_code)
        return known

    def _collect(self, frame: FrameType | None, limit: int) -> tuple[list[Fact], Fact | None]:
        sites: list[Fact] = []
        fixture = None
        known = self._known.get
        while frame is not None:
            code = frame.f_code
            # Almost every frame is a library's, so that these few steps are what a walk costs.
            owned = known(code.co_filename)
            if owned is not False:
                if owned or self.owns(code.co_filename):
                    if len(sites) < limit:
                        sites.append(self._site(frame, code))
                    if self.fixtures_run:
                        registered = self._fixtures.get(id(code))
                        fixture = registered and registered[1]
                    if code is self.test or fixture is not None or (len(sites) >= limit and not self.fixtures_run):
                        break
                elif code is _RUNS_CALLBACKS:
                    beyond, fixture = self._around(frame)
                    return [*sites, *beyond][:limit], fixture
                elif _calls_for_pytest(code):
                    break
            frame = frame.f_back
        return sites, fixture

    def function(self, code: CodeType, limit: int = 80) -> Fact:
        """A function's first line, decorators included, and its source as far as `limit` lines."""
        key = code.co_filename, code.co_firstlineno
        lines = self._sources.get(key)
        if lines is None:
            try:
                lines = inspect.getsource(code).splitlines()
            except (OSError, TypeError, IndentationError, SyntaxError):
                lines = []
            self._sources[key] = lines
        return {
            "path": self.path(code.co_filename),
            "line": code.co_firstlineno,
            "name": code.co_name,
            "async": bool(code.co_flags & _ASYNCHRONOUS),
            "source": lines[:limit],
        }

    def _site(self, frame: FrameType, code: CodeType) -> Fact:
        """A frame's line; each is put into words once, because finding a line's number reads the code from its start."""
        key = id(code), frame.f_lasti
        known = self._sites.get(key)
        if known is None:
            known = self._sites[key] = code, site_of(code, frame.f_lineno, self.path(code.co_filename))
        return known[1]


def site_of(code: CodeType, line: int, path: str) -> Fact:
    """A line of code as a plain fact."""
    return {
        "path": path,
        "line": line,
        "name": code.co_name,
        "async": bool(code.co_flags & _ASYNCHRONOUS),
        "generator": bool(code.co_flags & _GENERATOR),
    }


def source_line(filename: str, line: int) -> str:
    """The text of one source line, or nothing."""
    return linecache.getline(filename, line).strip()


def code_of(function: Any) -> CodeType | None:
    """The code of a function under its decorators."""
    # Most have none, or one of a plugin's, and unwrap() takes ten times as long to see that.
    inner = getattr(function, "__wrapped__", function) if type(function) is FunctionType else None
    if type(inner) is FunctionType and not hasattr(inner, "__wrapped__"):
        return inner.__code__
    return getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
