"""Runs pytest in a variation, on a fresh database, within a time limit, and keeps what every run showed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_savepoint.evidence import EVIDENCE_VARIABLE
from pytest_savepoint.told import ORDER_VARIABLE, SEED_VARIABLE

from savepoint_ci.rerun.minimize import Undecided
from savepoint_ci.rerun.ran import Ran, read_run
from savepoint_ci.rerun.variation import FILE_ORDER, Variation
from savepoint_ci.suite.process import Wish, run_suite

if TYPE_CHECKING:
    from savepoint_ci.rerun.databases import FreshDatabases

__all__ = ["Laboratory"]

_LEAST_LIMIT = 20.0
_TIMES_THE_FIRST = 6.0


@dataclass
class Laboratory:
    """What every run of one search has in common.

    :param command: pytest with the caller's arguments.
    :param environment: of the caller's code.
    :param single: arguments that make it one process.
    :param parallel: arguments that make it as many as the project uses otherwise; None where that is one, too.
    :param scratch: a folder for what runs leave.
    :param say: shows what a run came to.
    :param databases: gives each run its own copy; None where the plugin or nobody does that.
    :param same_database: why there are no copies, where the suite keeps its own database.
    :param deadline: on the monotonic clock; no run goes on after it.
    :param limit: seconds after which a run counts as hanging; None takes several times what the first run took.
    :param say: shows how far the search is.
    """

    command: list[str]
    single: list[str]
    parallel: list[str] | None
    project: Path
    environment: Mapping[str, str]
    scratch: Path
    say: Callable[[Ran], None]
    databases: FreshDatabases | None = None
    deadline: float = math.inf
    limit: float | None = None
    runs: list[Ran] = field(default_factory=list)
    evidence: Path = field(init=False)
    log: Path = field(init=False)
    same_database: str = ""
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.evidence, self.log = self.scratch / "evidence.jsonl", self.scratch / "pytest.log"

    @property
    def time_left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def run(self, variation: Variation) -> Ran:
        """Run once.

        :raises Undecided: when the time left is too short, or the run did not end within it.
        """
        if self.interrupted or self.time_left < self._expected(variation):
            raise Undecided
        with self._fresh() as environment:
            ran = self._start(variation, environment)
        self.runs.append(ran)
        self.say(ran)
        return ran

    def processes(self, variation: Variation) -> list[str]:
        """The arguments that make it one process, or as many as the project uses."""
        return self.parallel if variation.parallel and self.parallel is not None else self.single

    def reproduces(self, line: str, nodeid: str) -> bool:
        """Whether a test fails in a command line of a shell, called as a person would paste it.

        :raises Undecided: when there was no time for it.
        """
        if self.interrupted or self.time_left < self._expected(FILE_ORDER.of([nodeid])):
            raise Undecided
        with self._fresh() as environment:
            ran = self._call(["sh", "-c", line], environment, FILE_ORDER)
        return bool(ran.failed(nodeid))

    def _start(self, variation: Variation, environment: dict[str, str]) -> Ran:
        environment |= {SEED_VARIABLE: str(len(self.runs) + 1), **variation.environment}
        if variation.tests is not None:
            order = self.scratch / "order.txt"
            order.write_text("\n".join(variation.tests), encoding="utf-8")
            environment[ORDER_VARIABLE] = str(order)
        always = ("--maxfail=0", f"--override-ini=cache_dir={self.scratch / 'cache'}")
        command = [*self.command, *self.processes(variation), *always, *variation.arguments]
        return self._call(command, environment, variation)

    def _call(self, command: list[str], environment: dict[str, str], variation: Variation) -> Ran:
        self.evidence.unlink(missing_ok=True)
        environment |= {EVIDENCE_VARIABLE: str(self.evidence), "COVERAGE_FILE": str(self.scratch / "coverage")}
        start = time.monotonic()
        end = start + min(self.limit or self._patience(), self.time_left)

        def tick() -> Wish:
            return "kill" if time.monotonic() > end else "go-on"

        ended = run_suite(command, project=self.project, environment=environment, log=self.log, tick=tick)
        self.interrupted = self.interrupted or ended.interrupted
        if self.interrupted or (ended.given_up and self.time_left <= 0):
            raise Undecided
        took = time.monotonic() - start
        return read_run(_lines(self.evidence), variation, seconds=took, code=ended.exit, hung=ended.given_up)

    def _expected(self, variation: Variation) -> float:
        """Seconds that a run takes at least, as far as is known; the deadline ends one that takes longer."""
        wanted = len(self.runs[0].tests) if variation.tests is None and self.runs else len(variation.tests or ())
        like = [ran.seconds for ran in self.runs if len(ran.tests) >= wanted]
        return min(like, default=0.0) / 2

    def _patience(self) -> float:
        return max(_LEAST_LIMIT, _TIMES_THE_FIRST * self.runs[0].seconds) if self.runs else self.time_left

    @contextmanager
    def _fresh(self) -> Iterator[dict[str, str]]:
        if self.databases is None:
            yield dict(self.environment)
        else:
            with self.databases.environment(self.environment) as environment:
                yield environment


def _lines(evidence: Path) -> Iterator[str]:
    if evidence.exists():
        with evidence.open(encoding="utf-8", errors="replace") as lines:
            yield from lines
