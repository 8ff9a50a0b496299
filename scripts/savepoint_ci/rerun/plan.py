"""In which variations a suite is searched for tests that are not stable. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime

from savepoint_ci.rerun.variation import Variation

__all__ = ["ENOUGH", "ENOUGH_FOR_CHANGED", "HEAD", "far_zone", "search"]

ENOUGH = 40
"""Runs without a new failure after which a search ends; a rate of 7 % would have been seen with 95 % probability."""


HEAD = 3
"""The variations at the head that each change something else."""

ENOUGH_FOR_CHANGED = 10
"""The same for the tests of a change, each of which was chosen to be repeated."""


def search(
    tests: Sequence[str], *, seed: int, load: int, zone: str, parallel: bool = False
) -> Iterator[Variation]:
    """Variations without end, the ones that find most at the head.

    Two orders, the files' and its reverse, have each pair of tests both ways round. After that each test comes first
    once, where it meets nothing that others have prepared, in an order that is otherwise left to chance.

    :param tests: in file order.
    :param seed: what the orders and the seeds of random numbers are drawn from.
    :param load: processes that make a loaded machine.
    :param zone: another time zone.
    :param parallel: the project runs with workers otherwise, which are tried now and then.
    """
    if parallel:
        # Without an order or a seed of ours: each worker collects and hashes for itself, as it does elsewhere.
        yield Variation("parallel", parallel=True)
    if len(tests) > 1:
        yield Variation("reversed", tuple(reversed(tests)), seed=seed)
    yield Variation("under-load", tuple(tests), load=load, seed=seed + 1)
    yield Variation("other-zone", tuple(tests), zone=zone, seed=seed + 2)
    draw = random.Random(seed)  # noqa: S311 - orders of tests are no secrets
    heads: list[str] = []
    seed += 2
    while True:
        if parallel:
            yield Variation("parallel-under-load", load=load, parallel=True)
        for loaded in (False, False, True):
            seed += 1
            if not heads:
                heads = draw.sample(list(tests), len(tests))
            head = heads.pop(0)
            rest = [test for test in tests if test != head]
            order = (head, *draw.sample(rest, len(rest)))
            name = "random-order" if len(tests) > 1 else "again"
            yield Variation(f"{name}-under-load" if loaded else name, order, seed=seed, load=load if loaded else 0)


def far_zone(now: datetime) -> str:
    """A time zone in which it is another day than in UTC.

    :param now: in UTC.
    """
    # POSIX counts westwards: the first is 14 hours ahead of UTC, the second 12 hours behind it.
    return "Etc/GMT-14" if now.hour >= 10 else "Etc/GMT+12"
