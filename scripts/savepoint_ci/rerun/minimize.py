"""The few things of many that make a difference, found by delta debugging. Pure but for the question it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

__all__ = ["Undecided", "smallest"]

Each = TypeVar("Each")


class Undecided(Exception):  # noqa: N818 - no error: the time ended before the answer was known
    """The question could not be answered any more."""


def smallest(
    things: Sequence[Each], differs: Callable[[tuple[Each, ...]], bool], *, suspects: Iterable[Each] = ()
) -> tuple[Each, ...]:
    """The smallest part of `things`, in their order, for which `differs` still holds; it holds for all of them.

    :param suspects: those that are tried alone first, the likeliest first.
    :raises Undecided: when `differs` raises it.
    """
    for suspect in suspects if len(things) > 1 else ():
        if suspect in things and differs((suspect,)):
            return (suspect,)
    kept, pieces = tuple(things), 2
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


def _candidates(things: tuple[Each, ...], pieces: int) -> Iterable[tuple[Each, ...]]:
    """Each of the pieces, and then all but each of them."""
    size = -(-len(things) // pieces)
    starts = range(0, len(things), size)
    yield from (things[start : start + size] for start in starts)
    if pieces > 2:
        yield from (things[:start] + things[start + size :] for start in starts)
