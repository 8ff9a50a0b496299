"""One way to run tests: which ones in which order, and under what circumstances. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_savepoint.told import CLOCK_VARIABLE, LOAD_VARIABLE, PUT_BACK_VARIABLE, SEED_VARIABLE

__all__ = ["FILE_ORDER", "Variation", "shell_command"]


@dataclass(frozen=True)
class Variation:
    """How one run differs from the plain one, which has all tests in the order of their files.

    :param name: a slug that people read.
    :param tests: node ids in order; None takes all as they were collected.
    :param seed: of random numbers; None leaves it to chance.
    :param load: processes that keep the processors busy while tests run.
    :param zone: the local time zone; empty leaves it.
    :param clock: the local time that each test passes; empty leaves the clock alone.
    :param loops: the scope of the event loops of tests and fixtures; empty leaves them.
    :param put_back: what tests before the last have left, by kind and name, and what has its former value again for the
        last; with nothing in it, what the caller's modules keep is looked at, too, which takes time.
    :param parallel: with the workers that the project uses otherwise, not in one process.
    """

    name: str
    tests: tuple[str, ...] | None = None
    seed: int | None = None
    load: int = 0
    zone: str = ""
    clock: str = ""
    loops: str = ""
    put_back: tuple[tuple[str, str], ...] | None = None
    parallel: bool = False

    def of(self, tests: Sequence[str], name: str = "") -> Variation:
        """The same circumstances with other tests."""
        return replace(self, name=name or self.name, tests=tuple(tests))

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the tests and their order differs."""
        return not (self.load or self.zone or self.clock or self.loops or self.parallel)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which pytest runs like this, the order left out."""
        variables: dict[str, str] = {}
        if self.seed is not None:
            variables |= {SEED_VARIABLE: str(self.seed), "PYTHONHASHSEED": str(self.seed)}
        if self.load:
            variables[LOAD_VARIABLE] = str(self.load)
        if self.zone:
            variables["TZ"] = self.zone
        if self.clock:
            variables[CLOCK_VARIABLE] = self.clock
        if self.put_back is not None:
            variables[PUT_BACK_VARIABLE] = json.dumps(self.put_back)
        return variables

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments with which pytest runs like this."""
        kinds = ("fixture", "test") if self.loops else ()
        return tuple(f"--override-ini=asyncio_default_{kind}_loop_scope={self.loops}" for kind in kinds)


FILE_ORDER = Variation("file-order")


def shell_command(variation: Variation, *, arguments: Sequence[str]) -> str:
    """One line for a shell that runs these tests in this order under these circumstances.

    :param arguments: what pytest needs besides, such as a plugin that is turned off.
    """
    variables = [f"{name}={shlex.quote(text)}" for name, text in variation.environment.items()]
    words = map(shlex.quote, (*arguments, *variation.arguments, *(variation.tests or ())))
    return " ".join([*variables, "python -m pytest", *words])
