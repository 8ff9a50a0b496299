"""A clock that passes a chosen moment while a test runs, for reruns that ask whether a failure depends on the calendar.

What Python code reads of the time of day is shifted; intervals (`time.monotonic`), other processes and the database's own
`now()` stay real. Nothing has to be installed, and code that has imported `datetime` or its classes before is reached, too.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from datetime import date, datetime, timezone, tzinfo
from typing import Any

__all__ = ["Clock"]

_EARLIER = 60.0
_JUST = 0.001
_OF_NOW = ("localtime", "gmtime", "ctime")


class Clock:
    """Stands just before the moment when a test's code first looks at it, and is past it from the second look on.

    So whoever looks twice, or makes something in a fixture and looks at it in the test, always meets the change that
    happens to others once a day or once in four years.

    :param moment: local time, ISO 8601.
    :param owns: whether a source file is the caller's; a library's look does not count.
    :param looked: called at the first look of each test.
    """

    def __init__(self, moment: str, *, owns: Callable[[str], bool], looked: Callable[[], object]) -> None:
        self._moment = datetime.fromisoformat(moment).timestamp()
        self._owns = owns
        self._looked = looked
        self._real: list[tuple[Any, str, Any]] = []
        self.begin()

    def begin(self) -> None:
        """Stand before the moment again; a test begins."""
        self._looks = 0
        self._set(self._moment - _EARLIER)

    def _set(self, now: float) -> None:
        self._shown, self._at = now, time.monotonic()

    def _now(self) -> float:
        if self._looks < 2 and self._owns(sys._getframe(2).f_code.co_filename):  # noqa: SLF001 # as inspect does it
            self._look()
        return self._shown + time.monotonic() - self._at

    def _look(self) -> None:
        self._looks += 1
        if self._looks == 1:
            self._set(self._moment - _JUST)
            self._looked()
        else:
            self._set(self._moment + time.monotonic() - self._at)

    def start(self) -> None:
        """Put this clock in the place of the real one, for the whole process."""
        # A function between each caller and _now, which looks one frame further.
        self._replace(vars(time), time=lambda: self._now(), time_ns=lambda: int(self._now() * 1e9))  # noqa: PLW0108
        for name in _OF_NOW:
            self._replace(vars(time), **{name: self._of_now(getattr(time, name))})
        strftime, localtime = time.strftime, time.localtime
        self._replace(vars(time), strftime=lambda form, *when: strftime(form, *(when or (localtime(self._now()),))))
        self._replace(
            _members(datetime),
            now=classmethod(lambda cls, tz=None: _at(cls, self._now(), tz)),
            utcnow=classmethod(lambda cls: _at(cls, self._now(), timezone.utc).replace(tzinfo=None)),
        )
        # Of both classes: a datetime inherits it.
        self._replace(_members(date), today=classmethod(lambda cls: cls.fromtimestamp(self._now())))
        _forget_lookups()

    def _of_now(self, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda when=None: real(self._now() if when is None else when)

    def _replace(self, members: dict[str, Any], **replacements: Any) -> None:
        for name, replacement in replacements.items():
            self._real.append((members, name, members[name]))
            members[name] = replacement

    def stop(self) -> None:
        """Give back the real clock."""
        while self._real:
            members, name, real = self._real.pop()
            members[name] = real
        _forget_lookups()


def _at(kind: type[datetime], now: float, zone: tzinfo | None) -> datetime:
    return kind.fromtimestamp(now, zone)


def _members(kind: type) -> dict[str, Any]:
    """What `kind.__dict__` shows: classes written in C take no other assignment."""
    (members,) = (each for each in gc.get_referents(kind.__dict__) if isinstance(each, dict))
    return members


def _forget_lookups() -> None:
    for kind in (datetime, date):
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
