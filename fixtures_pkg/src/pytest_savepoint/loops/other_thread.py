"""Where another thread is.

Its frames are never looked at: it goes on between two lines of ours, and Python 3.11 ends with a segmentation fault when
a frame is looked at that is just being left. faulthandler reads the same names and numbers without making objects.
"""

from __future__ import annotations

import faulthandler
import linecache
import re
import tempfile
from itertools import takewhile
from typing import NamedTuple

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import PYTESTS_RUNNER

__all__ = ["OtherThread", "Place", "site_at"]

_THREAD = re.compile(r"^(?:Current t|T)hread 0x([0-9a-f]+)")
_PLACE = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')
# As faulthandler writes what is not ASCII.
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")


class Place(NamedTuple):
    """A line that runs, or waits for one further in."""

    filename: str
    line: int
    function: str


class OtherThread:
    """Tells where a thread is.

    :param thread: its identifier.
    """

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 # kept until close()

    def close(self) -> None:
        self._file.close()

    def places(self) -> list[Place]:
        """Where it is now, the innermost first, as far as pytest's call of a test, fixture or module."""
        self._file.seek(0)
        self._file.truncate()
        faulthandler.dump_traceback(self._file, all_threads=True)
        self._file.seek(0)
        lines = iter(self._file.read().decode("ascii", "replace").splitlines())
        for line in lines:
            if (thread := _THREAD.match(line)) and int(thread[1], 16) == self._thread:
                found = map(_PLACE.match, takewhile(str.strip, lines))
                places = (Place(_plain(each[1]), int(each[2]), _plain(each[3])) for each in found if each)
                return list(takewhile(lambda place: not _calls_for_pytest(place), places))
        return []


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)


def _calls_for_pytest(place: Place) -> bool:
    return place.function == "from_call" and place.filename.endswith(PYTESTS_RUNNER)


def site_at(place: Place, path: str) -> Fact:
    """A place as a plain fact, with what only its source tells: whether the function is a coroutine.

    The source is not parsed, because Python 3.11 fails when two threads do that at once.
    """
    defined = re.compile(rf"\s*(async\s+)?def\s+{re.escape(place.function)}\b")
    above = linecache.getlines(place.filename)[: place.line]
    found = next(filter(None, map(defined.match, reversed(above))), None)
    return {"path": path, "line": place.line, "name": place.function, "async": bool(found and found[1])}
