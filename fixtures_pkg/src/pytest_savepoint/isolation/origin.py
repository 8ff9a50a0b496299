"""The line of the user's own code that is at work now, also through SQLAlchemy's greenlets."""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import greenlet

__all__ = ["Origin", "find_origin"]

_PATHS = sysconfig.get_paths()
_LIBRARIES = (
    *{_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    str(Path(__file__).resolve().parents[1]),
)
_MOST_FRAMES = 120


class Origin(NamedTuple):
    """A place in the user's code."""

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.function}"


UNKNOWN = Origin("(no line of your own code)", 0, "?")


def find_origin() -> Origin:
    """The innermost running frame that belongs neither to Python, nor to an installed package, nor to Savepoint."""
    current: greenlet.greenlet | None = greenlet.getcurrent()
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            # A greenlet's frames end where it began; the code that awaits it is in its parent.
            current = current.parent if current is not None else None
            frame = current.gr_frame if current is not None else None
            if frame is None:
                return UNKNOWN
        if _is_users(frame.f_code.co_filename):
            return Origin(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return UNKNOWN


@lru_cache(maxsize=4096)
def _is_users(filename: str) -> bool:
    return not filename.startswith("<") and "site-packages" not in filename and not filename.startswith(_LIBRARIES)
