"""Which lines of the caller's hold more memory at the end of the suite than after its first test; only on demand."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.frames import Caller

__all__ = ["Allocations"]

_FRAMES = 16
_SHOWN = 10

Sizes = dict[tuple[str, int], tuple[int, int]]
"""Bytes and blocks by file and line."""


class Allocations:
    """Traces every allocation after the suite's first test, which makes tests several times slower.

    What the first test imports and connects is not traced: all others use it, and to trace imports takes a minute.

    :param caller: tells whose lines are named; what a library holds counts for the line that called it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def begin(self) -> None:
        """Trace what is allocated from now on."""
        tracemalloc.start(_FRAMES)

    def stop(self) -> None:
        tracemalloc.stop()

    def grown(self) -> list[Fact]:
        """The lines that hold most of what was allocated since the beginning; ends the tracing."""
        found: list[Fact] = [
            {"path": self._caller.path(path), "line": line, "bytes": size, "blocks": blocks}
            for (path, line), (size, blocks) in self._sizes().items()
        ]
        # The report is made after this, and would be slow too.
        tracemalloc.stop()
        return sorted(found, key=lambda each: -each["bytes"])[:_SHOWN]

    def _sizes(self) -> Sizes:
        sizes: Sizes = defaultdict(lambda: (0, 0))
        for each in tracemalloc.take_snapshot().statistics("traceback"):
            # The innermost frame is the last.
            place = next((frame for frame in reversed(each.traceback) if self._caller.owns(frame.filename)), None)
            if place is not None:
                size, blocks = sizes[place.filename, place.lineno]
                sizes[place.filename, place.lineno] = size + each.size, blocks + each.count
        return dict(sizes)
