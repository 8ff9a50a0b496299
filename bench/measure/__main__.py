"""The command line, and the file of results."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version

from measure.evidence import Evidence
from measure.example import Example
from measure.isolation import Isolation
from measure.machine import BENCH, Machine, machine
from measure.start import Start
from measure.workers import Workers

_PACKAGES = ("pytest", "pytest-asyncio", "pytest-xdist", "sqlalchemy", "asyncpg", "pytest-sqla", "pytest-async-sqlalchemy")
Part = Start | Workers | Isolation | Example | Evidence


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("parts", nargs="*", metavar="PART", help="start, workers, isolation, example or evidence; none means all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tests", type=int, default=400, help="in one run of the isolation part")
    given = parser.parse_args()
    with machine() as where:
        makers: dict[str, Callable[[], Part]] = {
            "start": lambda: Start(where),
            "workers": lambda: Workers(where),
            "isolation": lambda: Isolation(where, given.tests),
            "example": lambda: Example(where),
            "evidence": lambda: Evidence(where),
        }
        unknown = set(given.parts) - set(makers)
        if unknown:
            parser.error(f"unknown part: {', '.join(sorted(unknown))}")
        parts = [makers[name]() for name in given.parts or makers]
        for number in range(1, given.rounds + 1):
            for part in parts:
                part.measure_once()
            print(f"round {number} of {given.rounds}", file=sys.stderr, flush=True)
        text = _results(parts, where, given.rounds)
    print(text)
    if not given.parts:
        (BENCH / "results.md").write_text(text)
    return 0


def _results(parts: list[Part], where: Machine, rounds: int) -> str:
    sections = [f"## {part.title}\n\n{part.__doc__}\n\n{part.shown()}\n" for part in parts]
    return "\n".join(["# What Savepoint costs\n", _conditions(where, rounds), *sections])


def _conditions(where: Machine, rounds: int) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[2]
    return (
        f"Written by `bench/run` on {datetime.now(timezone.utc):%Y-%m-%d}; {rounds} interleaved rounds, medians and least values.\n"
        f"{os.cpu_count()} processors ({platform.machine()}), {memory:.0f} GiB, {platform.system()}; "
        f"load average {load:.1f} over the last 15 minutes, so read ratios rather than times.\n"
        f"Python {platform.python_version()}, PostgreSQL {where.version}, {packages}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
