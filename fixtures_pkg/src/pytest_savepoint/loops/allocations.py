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
    """Traces every allocation, which makes tests several times slower.

    :param caller: tells whose lines are named; what a library holds counts for the line that called it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._first: Sizes = {}
        tracemalloc.start(_FRAMES)

    def stop(self) -> None:
        tracemalloc.stop()

    def begin(self) -> None:
        """Compare with what is held now."""
        self._first = self._sizes()

    def grown(self) -> list[Fact]:
        """The lines that hold most more."""
        found: list[Fact] = []
        for (path, line), (size, blocks) in self._sizes().items():
            size_before, blocks_before = self._first.get((path, line), (0, 0))
            if size > size_before:
                change = {"bytes": size - size_before, "blocks": blocks - blocks_before}
                found.append({"path": self._caller.path(path), "line": line, **change})
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
