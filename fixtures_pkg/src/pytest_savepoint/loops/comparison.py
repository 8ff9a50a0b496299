"""What an assertion compared: the kinds of both sides, and whether they differ in their order only."""

from __future__ import annotations

import time
from datetime import datetime

from pytest_savepoint.evidence import Fact

__all__ = ["compared"]

_LONGEST = 60


def compared(op: str, left: object, right: object) -> Fact:
    """A comparison as a fact; of its values only what is short and plain is told."""
    return {
        "op": op,
        "left": type(left).__name__,
        "right": type(right).__name__,
        "equal": _equal(left, right),
        "reordered": _reordered(left, right),
        "shown": [_short(left), _short(right)],
        "moments": _moments(left, right),
    }


def _short(value: object) -> str | None:
    """A number or a short text as it stands in an assertion; longer things may hold anything."""
    plain = isinstance(value, int | float) or (isinstance(value, str) and len(value) < _LONGEST)
    return repr(value) if plain else None


def _moments(left: object, right: object) -> list[float] | None:
    """Two times that name their zone, as the clock by which statements are noted would have shown them."""
    if not (isinstance(left, datetime) and isinstance(right, datetime) and left.tzinfo and right.tzinfo):
        return None
    ahead = time.time() - time.monotonic()
    return [left.timestamp() - ahead, right.timestamp() - ahead]


def _equal(left: object, right: object) -> bool:
    try:
        return bool(left == right)
    except Exception:  # noqa: BLE001 # a comparison of the caller's may do anything
        return False


def _reordered(left: object, right: object) -> bool:
    """Whether two sequences hold the same things in another order."""
    if not isinstance(left, list | tuple) or not isinstance(right, list | tuple) or len(left) != len(right):
        return False
    try:
        rest = list(right)
        for each in left:
            rest.remove(each)
    except Exception:  # noqa: BLE001 # not the same things, or a comparison of the caller's
        return False
    return not _equal(list(left), list(right))
