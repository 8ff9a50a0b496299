"""The few tests of many that make a difference, found by delta debugging. Pure but for the question it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["Undecided", "smallest"]


class Undecided(Exception):  # noqa: N818 - no error: the time ended before the answer was known
    """The question could not be answered any more."""


def smallest(
    tests: Sequence[str], differs: Callable[[tuple[str, ...]], bool], *, suspects: Iterable[str] = ()
) -> tuple[str, ...]:
    """The smallest part of `tests`, in their order, for which `differs` still holds; it holds for all of them.

    :param suspects: tests that are tried alone first, the likeliest first.
    :raises Undecided: when `differs` raises it.
    """
    for suspect in suspects if len(tests) > 1 else ():
        if suspect in tests and differs((suspect,)):
            return (suspect,)
    kept, pieces = tuple(tests), 2
    while len(kept) > 1:
        for part in _candidates(kept, pieces):
            if differs(part):
                pieces = 2 if len(part) * 2 <= len(kept) else max(pieces - 1, 2)
                kept = part
                break
        else:
            if pieces >= len(kept):
                break
            pieces = min(pieces * 2, len(kept))
    return kept


def _candidates(tests: tuple[str, ...], pieces: int) -> Iterable[tuple[str, ...]]:
    """Each of the pieces, and then all but each of them."""
    size = -(-len(tests) // pieces)
    starts = range(0, len(tests), size)
    yield from (tests[start : start + size] for start in starts)
    if pieces > 2:
        yield from (tests[:start] + tests[start + size :] for start in starts)
