"""From a test that failed in one variation to what its failure depends on, by runs that separate the hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Literal

from pytest_savepoint.diagnosis.comparison import met_writes
from pytest_savepoint.diagnosis.left import left_key

from savepoint_ci.rerun.laboratory import Laboratory
from savepoint_ci.rerun.minimize import Undecided, smallest
from savepoint_ci.rerun.moments import calm, looks_at_clock, moments
from savepoint_ci.rerun.ran import Ran
from savepoint_ci.rerun.variation import FILE_ORDER, Variation

__all__ = ["Judged", "Kind", "judge", "judge_at_moment"]

Kind = Literal[
    "broken", "flaky", "order-dependent", "loop-dependent", "database-state", "time", "resource", "undecided"
]

_CONFIRM = 2
_MEASURE = 8
_OFTEN = 4
"""Tries of a moment among several, so that what fails by chance is hardly ever taken for one."""


@dataclass(frozen=True)
class Judged:
    """What the runs of one test proved.

    :param worst: the smallest variation in which it fails.
    :param polluters: tests that have to run before it for it to fail.
    :param setters: tests that have to run before it for it to pass.
    :param left: what those left for the whole process; with its former value again the outcome is the other one.
    :param failing: a run in which it failed, of the smallest variation where there is one.
    :param passing: a run that differs as little as possible from that one, and in which it passed.
    :param command: one line for a shell, seen to make the test fail when it is `reproduced`.
    """

    nodeid: str
    kind: Kind
    worst: Variation
    polluters: tuple[str, ...] = ()
    setters: tuple[str, ...] = ()
    left: tuple[dict[str, Any], ...] = ()
    failing: Ran | None = None
    passing: Ran | None = None
    command: str = ""
    reproduced: bool = False


@dataclass
class _Case:
    """One test under examination; counts what each variation gave."""

    laboratory: Laboratory
    nodeid: str
    hints: tuple[str, ...] = ()
    last: dict[bool, Ran] = field(default_factory=dict)

    def fails(self, variation: Variation) -> bool:
        """Whether the test fails in one run.

        :raises Undecided: when it gave no answer.
        """
        ran = self.laboratory.run(variation)
        failed = ran.failed(self.nodeid)
        if failed is None:
            raise Undecided
        self.last[failed] = ran
        return failed

    def count(self, variation: Variation, times: int) -> int:
        return sum(self.fails(variation) for _ in range(times))

    def always(self, variation: Variation, wanted: bool) -> bool:
        """Whether the outcome is the wanted one, each time that it is tried."""
        return all(self.fails(variation) is wanted for _ in range(_CONFIRM))


def judge(
    laboratory: Laboratory, nodeid: str, seen: Ran, plain: Ran, *, hints: Sequence[str] = ()
) -> Judged:
    """Say what the failure of a test depends on.

    :param seen: a run in which it failed.
    :param plain: the run in file order.
    :param hints: tests on which others were found to depend; they are tried first.
    """
    case = _Case(laboratory, nodeid, tuple(hints))
    undecided = Judged(nodeid, "undecided", seen.variation.of((*seen.before(nodeid), nodeid)), failing=seen)
    try:
        return _judge(case, seen, plain)
    except Undecided:
        return undecided


def judge_at_moment(laboratory: Laboratory, nodeid: str, moment: Variation) -> Judged | None:
    """Say whether a test that passes otherwise fails for the moment that the clock passes; None when it does not.

    :param moment: the circumstances of the run in which it failed.
    """
    try:
        return _at_moment(_Case(laboratory, nodeid), moment.of([nodeid]))
    except Undecided:
        return None


def _judge(case: _Case, seen: Ran, plain: Ran) -> Judged:
    nodeid = case.nodeid
    alone = FILE_ORDER.of([nodeid], "alone")
    circumstances = replace(seen.variation, parallel=False).of([nodeid], "alone")
    failures = case.count(alone, _CONFIRM)
    if 0 < failures < _CONFIRM:
        return _flaky(case, alone)
    if failures:
        return _fails_alone(case, alone, plain)
    if not circumstances.is_plain and case.fails(circumstances):
        return _circumstances(case, circumstances)
    return _fails_in_company(case, seen)


def _fails_alone(case: _Case, alone: Variation, plain: Ran) -> Judged:
    nodeid = case.nodeid
    before = plain.before(nodeid)
    # It may have failed in the plain run for what came before it there, and fail alone for what did not.
    if before and plain.failed(nodeid) is False and not case.fails(alone.of([*before, nodeid], "with-predecessors")):
        setters = smallest(
            before, lambda tests: not case.fails(alone.of([*tests, nodeid], "with-setters")), suspects=(*case.hints, *before[-1:])
        )
        together = alone.of([*setters, nodeid], "with-setters")
        if not case.fails(_looking(together)):
            found = Judged(
                nodeid, "order-dependent", alone, setters=setters, failing=case.last[True], passing=case.last[False]
            )
            return replace(found, left=_left(case, together, setters, fails=False))
        return _flaky(case, alone)
    if plain.failed(nodeid) is False:
        return _flaky(case, alone)
    for scope in _other_loops(case):
        if case.always(replace(alone, name=f"{scope}-loops", loops=scope), wanted=False):
            return Judged(nodeid, "loop-dependent", alone, failing=case.last[True], passing=case.last[False])
    if case.count(alone, _CONFIRM) == _CONFIRM:
        return Judged(nodeid, "broken", alone, failing=case.last[True])
    return _flaky(case, alone)


def _other_loops(case: _Case) -> list[str]:
    """The loop scopes that tests and fixtures do not both have, where the version of pytest-asyncio can give them."""
    for fact in case.last[True].facts:
        if fact["kind"] == "configuration":
            if str(fact["versions"].get("pytest-asyncio", "0")).startswith("0"):
                return []
            names = (f"asyncio_default_{kind}_loop_scope" for kind in ("fixture", "test"))
            present = {fact["settings"].get(name) or "function" for name in names}
            return [scope for scope in ("session", "function") if present != {scope}]
    return []


def _circumstances(case: _Case, worst: Variation) -> Judged:
    kind: Kind = "time" if worst.zone else "resource"
    calm = FILE_ORDER.of([case.nodeid], "alone")
    if case.count(calm, _CONFIRM) or not case.count(worst, _CONFIRM):
        return _flaky(case, calm)
    return Judged(case.nodeid, kind, worst, failing=case.last[True], passing=case.last[False])


def _at_moment(case: _Case, moment: Variation) -> Judged | None:
    """Fails each time that the clock passes the moment, and never on a calm day."""
    ordinary = FILE_ORDER.of([case.nodeid], "alone")
    if not all(case.fails(moment) and not case.fails(calm(moment)) for _ in range(_OFTEN)) or case.fails(ordinary):
        return None
    return Judged(case.nodeid, "time", moment, failing=case.last[True], passing=case.last[False])


def _at_some_moment(case: _Case) -> Judged | None:
    """The first moment that breaks a test which passes now, if one does."""
    for moment in moments(datetime.now(timezone.utc).replace(tzinfo=None)):
        alone = moment.of([case.nodeid])
        if case.fails(alone):
            return _at_moment(case, alone)
        if not looks_at_clock(case.last[False]):
            return None
    return None


def _fails_in_company(case: _Case, seen: Ran) -> Judged:
    nodeid, before = case.nodeid, seen.before(case.nodeid)
    # With other seeds: what fails with one seed only fails by chance, and its command carries the seed.
    same = replace(seen.variation, seed=None, parallel=False).of([*before, nodeid], "same-order")
    if not before or not case.always(same, wanted=True):
        return _at_some_moment(case) or _flaky(case, FILE_ORDER.of([nodeid], "alone"), seen=seen)
    plain = FILE_ORDER.of([*before, nodeid], "same-order")
    if not same.is_plain and case.fails(plain):
        same = plain
    polluters = smallest(
        before,
        lambda tests: case.fails(same.of([*tests, nodeid], "with-polluters")),
        suspects=(*case.hints, *_suspects(seen, nodeid, before)),
    )
    worst = same.of([*polluters, nodeid], "with-polluters")
    if len(polluters) < len(before) and not case.fails(_looking(worst)):
        return _flaky(case, FILE_ORDER.of([nodeid], "alone"), seen=seen)
    failing, passing = case.last[True], case.last[False]
    left = _left(case, worst, polluters, fails=True)
    of_database = not left and met_writes(failing.facts, nodeid, polluters)
    kind: Kind = "database-state" if of_database else "order-dependent"
    return Judged(nodeid, kind, worst, polluters=polluters, left=left, failing=failing, passing=passing)


def _looking(variation: Variation) -> Variation:
    """The same with a look at what the caller's modules keep."""
    return replace(variation, put_back=())


def _left(case: _Case, together: Variation, others: Sequence[str], *, fails: bool) -> tuple[dict[str, Any], ...]:
    """What the tests before the last left for the whole process and its outcome hangs on: put back, that is the other one.

    :param fails: the outcome as it is.
    """

    def differs(keys: tuple[tuple[str, str], ...]) -> bool:
        return case.fails(replace(together, name="put-back", put_back=keys)) is not fails

    with suppress(Undecided):
        if case.last[fails].variation.put_back is None and differs(()):
            return ()
        facts = [each for each in case.last[fails].facts if each["kind"] == "left" and each["test"] in others]
        left = {left_key(each): each for each in facts}
        # What a wide fixture changed it may still need, and put back by itself.
        narrow = tuple(key for key, each in left.items() if (each["fixture"] or {}).get("scope", "function") == "function")
        for keys in dict.fromkeys((narrow, tuple(left))):
            if keys and all(differs(keys) for _ in range(_CONFIRM)):
                return tuple(left[key] for key in smallest(keys, differs))
    return ()


def _suspects(seen: Ran, nodeid: str, before: Sequence[str]) -> list[str]:
    """The tests that came before, those first that committed something that the failing test met."""
    met = [write["test"] for write in met_writes(seen.facts, nodeid, before)]
    return list(dict.fromkeys([*reversed(met), before[-1]]))


def _flaky(case: _Case, alone: Variation, *, seen: Ran | None = None) -> Judged:
    """It fails now and then; a few more runs say how often."""
    with suppress(Undecided):  # the rate is less certain then, and its interval says so
        case.count(alone, _MEASURE)
    fails_alone = any(ran.failed(case.nodeid) for ran in case.laboratory.runs if ran.variation == alone)
    worst = alone
    if seen is not None and not fails_alone:
        before = seen.before(case.nodeid)
        worst = seen.variation if seen.variation.parallel else seen.variation.of([*before, case.nodeid])
    return Judged(case.nodeid, "flaky", worst, failing=case.last.get(True, seen), passing=case.last.get(False))
