"""Searches a suite for tests that are not stable, and examines each that failed, until the budget is spent."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice

from savepoint_ci.rerun.judge import Judged, judge, judge_at_moment
from savepoint_ci.rerun.laboratory import Laboratory
from savepoint_ci.rerun.minimize import Undecided
from savepoint_ci.rerun.moments import looks_at_clock, moments
from savepoint_ci.rerun.plan import ENOUGH, ENOUGH_FOR_CHANGED, HEAD, far_zone, search
from savepoint_ci.rerun.ran import Ran
from savepoint_ci.rerun.variation import FILE_ORDER, shell_command

__all__ = ["Search"]

_LONGEST_COMMAND = 2_000
_MOST_TRIES = 8


@dataclass
class Search:
    """What a search came to so far.

    :param arguments: what pytest needs besides the node ids, in a command for people.
    :param plain: the run that others are compared with.
    :param judged: each test that failed.
    :param telling: the runs whose findings count: the plain one, and those in which a test failed that had not before.
    :param quiet: runs since the last of them.
    :param complete: it ended because it had seen enough, not because its time was up.
    """

    laboratory: Laboratory
    arguments: Sequence[str]
    plain: Ran | None = None
    judged: list[Judged] = field(default_factory=list)
    telling: list[Ran] = field(default_factory=list)
    quiet: int = 0
    complete: bool = False
    _calm: set[str] = field(default_factory=set)

    def suite(
        self, *, seed: int, load: int, first: Callable[[Sequence[str]], Sequence[str]], started: Callable[[], None]
    ) -> None:
        """Run the suite in file order, and then in every variation of the plan.

        :param seed: what orders and seeds are drawn from.
        :param load: processes that make a loaded machine.
        :param first: gives the tests of all that are repeated before the others.
        :param started: called after the first run, however that ended, when what it left is still there.
        """
        with suppress(Undecided):  # the time is up; what is known so far is the result
            try:
                plain = self.laboratory.run(FILE_ORDER)
            finally:
                started()
            self.examine(plain)
            self._vary(first(plain.tests), seed=seed, load=load, enough=ENOUGH_FOR_CHANGED)
            parallel = self.laboratory.parallel is not None
            self._vary(plain.tests, seed=seed, load=load, enough=ENOUGH, parallel=parallel)
            self.complete = True

    def changed(self, seen: Ran, tests: Sequence[str], *, seed: int, load: int) -> None:
        """Examine what failed in a run of the whole suite, and repeat the tests that a change touches."""
        with suppress(Undecided):
            self.examine(seen)
            self._vary(tests, seed=seed, load=load, enough=ENOUGH_FOR_CHANGED)
            self.complete = True

    def _vary(self, tests: Sequence[str], *, seed: int, load: int, enough: int, parallel: bool = False) -> None:
        zone = far_zone(datetime.now(timezone.utc))
        variations = search(tests, seed=seed, load=load, zone=zone, parallel=parallel)
        self.quiet = 0
        if self._knows_all(tests):
            return
        head: list[Ran] = []
        try:
            # What finds most runs before anything is examined, because that takes many runs.
            head.extend(self.laboratory.run(variation) for variation in islice(variations, HEAD))
        finally:
            for ran in head:
                self.quiet += 1
                self.examine(ran)
        clock = moments(datetime.now(timezone.utc).replace(tzinfo=None))
        for number, variation in enumerate(variations):
            if self.quiet >= enough or self._knows_all(tests):
                break
            if number % 2 == 0 and (moment := next(clock, None)):
                ran = self.laboratory.run(moment.of(tests))
                self._examine_at_moment(ran)
                clock = clock if looks_at_clock(ran) else iter(())
            ran = self.laboratory.run(variation)
            self.quiet += 1
            self.examine(ran)

    def _knows_all(self, tests: Sequence[str]) -> bool:
        return {each.nodeid for each in self.judged} >= set(tests)

    def examine(self, seen: Ran) -> None:
        """Judge the tests that failed in a run and in none before it; one of each kind of failure first."""
        plain = self.plain = self.plain or seen
        known = {each.nodeid for each in self.judged}
        failures = {**seen.failures, **dict.fromkeys(seen.stuck, "did not end")}
        new = {nodeid: message for nodeid, message in failures.items() if nodeid not in known}
        # A run that fell at collection has no test that failed, and a cause all the same.
        if new or seen is plain or (seen.findings and not seen.tests):
            self.telling.append(seen)
            self.quiet = 0
        hints: list[str] = []
        for nodeid in _different_first(new):
            judged = judge(self.laboratory, nodeid, seen, plain, hints=hints)
            hints += [test for test in (*judged.polluters, *judged.setters) if test not in hints]
            self.judged.append(self._with_command(judged))

    def _examine_at_moment(self, seen: Ran) -> None:
        """Judge what failed only because the clock was shifted; what fails on a calm day too, the shift itself broke."""
        known = {each.nodeid for each in self.judged} | self._calm
        for nodeid in (nodeid for nodeid in seen.failures if nodeid not in known):
            if judged := judge_at_moment(self.laboratory, nodeid, seen.variation):
                self.judged.append(self._with_command(judged))
                self.quiet = 0
            else:
                self._calm.add(nodeid)

    def _with_command(self, judged: Judged) -> Judged:
        """The same with a line for a shell, tried as often as a failure of its rate needs to be seen."""
        processes = self.laboratory.processes(judged.worst)
        line = shell_command(judged.worst, arguments=[*self.arguments, *processes])
        if len(line) > _LONGEST_COMMAND:
            return judged
        if judged.kind == "undecided" or shutil.which("sh") is None:
            return replace(judged, command=line)
        runs = self.outcomes(judged)
        rate = sum(runs) / max(len(runs), 1)
        # What depends on nothing but chance needs several tries; all else fails whenever it is called.
        tries = math.ceil(math.log(0.05) / math.log(1 - rate)) if judged.kind == "flaky" and 0 < rate < 1 else 1
        try:
            seen = any(self.laboratory.reproduces(line, judged.nodeid) for _ in range(min(tries, _MOST_TRIES)))
        except Undecided:
            seen = False
        return replace(judged, command=line, reproduced=seen)

    def outcomes(self, judged: Judged) -> list[bool]:
        """Whether a test failed, in each run that had it; a shifted clock says something of the tests that it concerns."""
        runs = (ran for ran in self.laboratory.runs if ran.variation.clock in ("", judged.worst.clock))
        return [failed for ran in runs if (failed := ran.failed(judged.nodeid)) is not None]


def _different_first(failures: dict[str, str]) -> Iterator[str]:
    """The tests, those that repeat another's message last."""
    kinds: dict[str, list[str]] = {}
    for nodeid, message in failures.items():
        kinds.setdefault(re.sub(r"\d+|0x[0-9a-f]+", "#", message), []).append(nodeid)
    yield from (tests[0] for tests in kinds.values())
    for tests in kinds.values():
        yield from tests[1:]
