"""Logging that a test or import changed for the whole process: loggers disabled, and levels left behind."""

from __future__ import annotations

import functools
import logging
import sys
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytest_savepoint.arrival import when_imported
from pytest_savepoint.evidence import Fact, Recorder
from pytest_savepoint.loops.frames import Caller
from pytest_savepoint.loops.patches import Patches, harmless

__all__ = ["Logs"]

_ALL = "logging.disable"


class Logs:
    """Looks when logging is configured, so that a test that leaves it alone pays almost nothing."""

    def __init__(self, recorder: Recorder, caller: Caller) -> None:
        self._recorder = recorder
        self._caller = caller
        self._levels: dict[str, tuple[int, Fact]] = {}  # of this test: by logger, the level before and who changed it
        self.leaks: deque[Fact] = deque(maxlen=20)
        """The loggers that were disabled in this process, latest last."""

    def install(self, patches: Patches) -> None:
        self._forget = when_imported("logging.config", functools.partial(self._watch_configurations, patches))
        patches.wrap(logging.Logger, "setLevel", self._watch_level)
        patches.wrap(logging, "disable", self._watch_disable)

    def uninstall(self) -> None:
        self._forget()

    def _watch_configurations(self, patches: Patches) -> None:
        for name in ("fileConfig", "dictConfig"):
            patches.wrap(sys.modules["logging.config"], name, self._watch_configuration)

    def begin(self) -> None:
        """A test starts."""
        self._levels.clear()

    def end(self) -> None:
        """A test is over, with its teardown; what is still changed has leaked."""
        for name, (before, changed) in self._levels.items():
            level = _level(name)
            if level != before:
                self._recorder.note("logging_level_leaked", logger=name, before=before, level=level, **changed)

    def _watch_level(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def set_level(logger: logging.Logger, level: Any) -> None:
            self._before(logger.name, sys._getframe(1))  # noqa: SLF001 # who sets it
            original(logger, level)

        return set_level

    def _watch_disable(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def disable(*args: Any, **kwargs: Any) -> None:
            self._before(_ALL, sys._getframe(1))  # noqa: SLF001
            original(*args, **kwargs)

        return disable

    @harmless
    def _before(self, name: str, frame: FrameType) -> None:
        # What pytest and libraries set, they set back; the caller's own line comes first in the stack.
        if name not in self._levels and self._caller.owns(frame.f_code.co_filename):
            sites, fixture = self._caller.look(frame, 1)
            self._levels[name] = _level(name), {"site": sites[0] if sites else None, "fixture": fixture}

    def _watch_configuration(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def configure(*args: Any, **kwargs: Any) -> Any:
            enabled = {name for name, logger in _loggers() if not logger.disabled}
            result = original(*args, **kwargs)
            self._note_disabled(enabled, sys._getframe(1))  # noqa: SLF001 # who configured
            return result

        return configure

    @harmless
    def _note_disabled(self, enabled: set[str], frame: FrameType) -> None:
        disabled = sorted(name for name, logger in _loggers() if logger.disabled and name in enabled)
        if disabled:
            site = self._caller.site(frame)
            self.leaks.append(self._recorder.note("logging_disabled", loggers=disabled[:200], site=site))


def _level(name: str) -> int:
    return logging.root.manager.disable if name == _ALL else logging.getLogger(name).level


def _loggers() -> list[tuple[str, logging.Logger]]:
    known = logging.Logger.manager.loggerDict
    return [(name, logger) for name, logger in list(known.items()) if isinstance(logger, logging.Logger)]
