"""The cut of a suite into shards of equal time; nothing is read or written here."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from pytest_savepoint.errors import SavepointError

__all__ = [
    "MOST_SHARDS",
    "CollectedTest",
    "Distribution",
    "Plan",
    "PlanError",
    "cut",
    "how_many",
    "parse_plan",
    "plan_json",
]

MOST_SHARDS = 256
"""GitHub starts no more jobs for one matrix."""

PLAN_BYTES = 64 * 1024 * 1024
_UNKNOWN_SECONDS = 0.1
_SHORTEST_SECONDS = 0.001

Distribution = Literal["loadfile", "loadscope", "loadgroup", "single"]
"""What stays together: the tests of a file, of a module or class, of an xdist_group, or nothing."""

_NodeId = Annotated[str, Meta(max_length=4_096)]


class PlanError(SavepointError):
    """A plan of shards that cannot be used."""


class CollectedTest(Struct, frozen=True):
    """A test as pytest collected it; `group` is xdist's, empty when there is none."""

    nodeid: str
    group: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """The tests of every shard in the order of collection, and the seconds that each is expected to take."""

    version: Literal[1] = 1
    shards: Annotated[tuple[tuple[_NodeId, ...], ...], Meta(min_length=1, max_length=MOST_SHARDS)]
    seconds: tuple[float, ...] = ()
    first: tuple[_NodeId, ...] = ()
    """Files in the order in which a shard runs them; the others come after them."""
    attempt: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """The attempt of the workflow run in which it was made; reports of earlier ones are out of date."""

    @property
    def digest(self) -> str:
        """A short text that tells this cut from every other."""
        return hashlib.sha256(msgspec.json.encode(self.shards)).hexdigest()[:16]


def cut(
    tests: Sequence[CollectedTest],
    durations: Mapping[str, float],
    shards: int,
    *,
    distribution: Distribution = "single",
    first: Sequence[str] = (),
    attempt: int = 1,
) -> Plan:
    """Cut a suite into shards that take about equally long: the longest first, each to the shard with the least so far.

    :param durations: seconds by node id; of an unknown test that is expected which the known ones nearest to it take.
    :param shards: how many; the plan has fewer when there is not something for each.
    :param first: files in the order in which they are to be run.
    """
    means = _means(durations)
    seconds: dict[str, float] = {}
    for test in tests:
        name = _together(test, distribution)
        known = durations.get(f"{test.nodeid}@{test.group}" if test.group else test.nodeid)
        known = durations.get(test.nodeid) if known is None else known
        expected = _expected(test.nodeid, means) if known is None else known
        seconds[name] = seconds.get(name, 0.0) + max(expected, _SHORTEST_SECONDS)
    shards = max(1, min(shards, len(seconds), MOST_SHARDS))
    lightest = [(0.0, number) for number in range(shards)]
    shard_of: dict[str, int] = {}
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        sum_, number = lightest[0]
        shard_of[name] = number
        heapq.heapreplace(lightest, (sum_ + seconds[name], number))
    parts: list[list[str]] = [[] for _ in range(shards)]
    for test in tests:
        parts[shard_of[_together(test, distribution)]].append(test.nodeid)
    sums = {number: round(sum_, 3) for sum_, number in lightest}
    return Plan(
        shards=tuple(map(tuple, parts)),
        seconds=tuple(sums[number] for number in range(shards)),
        first=tuple(first),
        attempt=attempt,
    )


def _means(durations: Mapping[str, float]) -> dict[str, float]:
    """The mean of every family of tests; a median would forget the few long ones, and what counts is their sum."""
    sums: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    for nodeid, seconds in durations.items():
        for family in _families(nodeid):
            sums[family] += seconds
            counts[family] += 1
    return {family: sums[family] / count for family, count in counts.items()}


def _expected(nodeid: str, means: Mapping[str, float]) -> float:
    """The seconds of a test that nobody has timed."""
    return next((means[family] for family in _families(nodeid) if family in means), _UNKNOWN_SECONDS)


def _families(nodeid: str) -> Iterator[str]:
    """What a test belongs to, the nearest first: its other parameters, its class, its file, the suite."""
    function = nodeid.partition("[")[0]
    yield f"{function}["
    if (scope := function.rpartition("::")[0]) != (file := nodeid.partition("::")[0]):
        yield scope
    yield file
    yield ""


def _together(test: CollectedTest, distribution: Distribution) -> str:
    """The name of what may not be cut; xdist hands out the same parts."""
    if distribution == "loadfile":
        return test.nodeid.partition("::")[0]
    if distribution == "loadscope":
        return test.nodeid.partition("[")[0].rpartition("::")[0]
    if distribution == "loadgroup" and test.group:
        return f"@{test.group}"
    return test.nodeid


def how_many(durations: Mapping[str, float], *, workers: int, target: float) -> int:
    """The shards that a suite needs so that each ends within the target; 1 when nothing is known of it.

    :param workers: the tests that run at once in one shard.
    :param target: seconds of testing that one shard may take.
    """
    return max(1, min(math.ceil(sum(durations.values()) / (max(workers, 1) * target)), MOST_SHARDS))


def plan_json(plan: Plan) -> bytes:
    """The plan as JSON."""
    return msgspec.json.encode(plan) + b"\n"


def parse_plan(data: bytes) -> Plan:
    """Read a plan.

    :raises PlanError: when it is too large, no JSON, or no plan; the message names the place.
    """
    if len(data) > PLAN_BYTES:
        raise PlanError(f"The plan has {len(data):,} bytes; more than {PLAN_BYTES:,} are not read.")
    try:
        return msgspec.json.decode(data, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise PlanError(
            f"The plan does not follow its schema: {fault}. It was changed, cut short, or made by another version; make "
            "it anew with `savepoint plan`."
        ) from None
