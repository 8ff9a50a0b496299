#!/usr/bin/env python3
"""Simulate a suite of 100,000 tests on 200 machines: bench/shards/run.py [--tests N] [--shards N]

The cut is made of durations as a history has them, one test in a hundred, in twenty, in five unknown, and judged by what
the tests "really" take, also when that is a quarter more or less; for smaller suites also of none at all. Then
`savepoint merge` makes one report of 200 report folders with coverage data. Prints the tables and writes those of a
whole run to bench/shards/results.md.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parents[1]
SOURCES = [str(ROOT / "scripts"), str(ROOT / "fixtures_pkg" / "src")]
sys.path[:0] = SOURCES

from pytest_savepoint.cache import cache_directory  # noqa: E402 - after the path is set
from savepoint_ci.locked_environment import locked_environment, python_of  # noqa: E402

TESTS, SHARDS, MODULES = 100_000, 200, 200
SMALLER = ((500, 4), (2_000, 5), (2_000, 20), (10_000, 20))
KNOWN = {"none": 0.0, "80 %": 0.8, "95 %": 0.95, "99 %": 0.99, "all": 1.0}
MODULE = "".join(
    f"def function_{number}(flag):\n    if flag:\n        return 1\n    return 2\n\n\n" for number in range(20)
)


def main() -> int:
    python = python_of(locked_environment(cache_directory(os.environ) / "tool", ROOT / "scripts" / "requirements.txt"))
    if Path(sys.executable) != python:
        return subprocess.call([str(python), *sys.argv], env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)})
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=TESTS)
    parser.add_argument("--shards", type=int, default=SHARDS)
    given = parser.parse_args()
    text = simulate(given.tests, given.shards)
    print(text)
    if (given.tests, given.shards) == (TESTS, SHARDS):
        (BENCH / "results.md").write_text(text)
    return 0


def simulate(tests: int, shards: int) -> str:
    """Cut, judge the cut, merge; the Markdown page."""
    from savepoint_ci.shards.plan import CollectedTest, cut, plan_json  # noqa: PLC0415 - in the tool's environment

    chance = random.Random(2026)
    usual = {f"tests/test_{n % 800}.py::test_{n}[case]": chance.lognormvariate(-2, 1.5) for n in range(tests)}
    known = {nodeid: seconds for nodeid, seconds in usual.items() if chance.random() < 0.99}
    collected = [CollectedTest(nodeid) for nodeid in usual]
    start, began = time.perf_counter(), time.process_time()
    plan = cut(collected, known, shards)
    data = plan_json(plan)
    planned, planning = time.perf_counter() - start, time.process_time() - began
    foreseen = cut(collected, usual, shards)
    newer = [
        cut(collected, {each: usual[each] for each in usual if chance.random() >= new}, shards) for new in (0.05, 0.2)
    ]
    real = {nodeid: seconds * chance.uniform(0.75, 1.25) for nodeid, seconds in usual.items()}
    with tempfile.TemporaryDirectory(prefix="shards-") as folder:
        project, folders = write_shards(Path(folder), plan.shards, data, real)
        start = time.perf_counter()
        code = subprocess.call(
            [sys.executable, ROOT / "scripts" / "savepoint", "merge", *folders], cwd=project, stdout=subprocess.DEVNULL
        )
        merged = time.perf_counter() - start
        assert code == 0, code
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory, processor = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime
    rows = (
        ("plan: cut and write", f"{planned:.2f} s", "2 s"),
        ("plan: processor time", f"{planning:.2f} s", ""),
        ("plan: size", f"{len(data) / 1e6:.1f} MB", ""),
        ("longest shard / mean, all durations known", f"{balance(foreseen.shards, usual):.3f}", "1.05"),
        ("the same, one test in a hundred unknown", f"{balance(plan.shards, usual):.3f}", ""),
        *(
            (f"the same, one test in {one_in} unknown", f"{balance(each.shards, usual):.3f}", "")
            for one_in, each in zip(("twenty", "five"), newer, strict=True)
        ),
        ("one in a hundred unknown, and every test a quarter more or less", f"{balance(plan.shards, real):.3f}", ""),
        (f"merge of {shards} reports with coverage", f"{merged:.1f} s", "10 s"),
        ("merge: processor time", f"{processor:.1f} s", ""),
        ("merge: memory", f"{memory:.0f} MB", "500 MB"),
    )
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    load = os.getloadavg()[0]
    return (
        f"# {tests:,} tests on {shards} machines, simulated\n\nWritten by `bench/shards/run.py`; {os.cpu_count()} "
        f"processors, load average {load:.1f}; where that is more than the processors, read processor time.\n\n| What | Measured | Wanted |\n|---|---:|---:|\n{lines}\n"
        f"\n{by_knowledge()}"
    )


def by_knowledge() -> str:
    """How even the cut of a smaller suite is, by the share of its durations that is known; a Markdown table."""
    from savepoint_ci.shards.plan import CollectedTest, cut  # noqa: PLC0415 - in the tool's environment

    rows = []
    for tests, shards in SMALLER:
        evenness: dict[str, list[float]] = {name: [] for name in KNOWN}
        for seed in range(9):
            chance = random.Random(seed)
            files = [chance.gauss(0, 1) for _ in range(tests // 25)]
            usual = {
                f"tests/test_{n // 25}.py::test_{n}": math.exp(
                    -2 + 1.5 * (files[n // 25] + chance.gauss(0, 1)) / 2**0.5
                )
                for n in range(tests)
            }
            collected = [CollectedTest(nodeid) for nodeid in usual]
            for name, share in KNOWN.items():
                known = {nodeid: seconds for nodeid, seconds in usual.items() if chance.random() < share}
                evenness[name].append(balance(cut(collected, known, shards).shards, usual))
        rows.append(
            [f"{tests:,} tests, {shards} shards", *(f"{statistics.median(each):.2f}" for each in evenness.values())]
        )
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        "Longest shard / mean by the share of durations that is known: medians of 9 suites of 25 tests a file, whose\n"
        "durations spread as widely as above (one test in a hundred takes 33 times the median), half of it between files.\n\n"
        f"| known | {' | '.join(KNOWN)} |\n|---|{'---:|' * len(KNOWN)}\n{lines}\n"
    )


def balance(shards: tuple[tuple[str, ...], ...], seconds: dict[str, float]) -> float:
    sums = [sum(seconds[nodeid] for nodeid in shard) for shard in shards]
    return max(sums) * len(sums) / sum(sums)


def write_shards(
    folder: Path, shards: tuple[tuple[str, ...], ...], plan: bytes, seconds: dict[str, float]
) -> tuple[Path, list[Path]]:
    """A project, the folder of the plan, and a report folder for each shard, as jobs leave them."""
    from coverage import CoverageData  # noqa: PLC0415 - in the tool's environment
    from savepoint_ci.report.model import Report, Run, Shard, TestResult, report_json  # noqa: PLC0415
    from savepoint_ci.shards.plan import parse_plan  # noqa: PLC0415

    project = folder / "project"
    project.mkdir()
    for number in range(MODULES):
        (project / f"module_{number}.py").write_text(MODULE)
    (folder / "plan").mkdir()
    (folder / "plan" / "plan.json").write_bytes(plan)
    digest = parse_plan(plan).digest
    folders = [folder / "plan"]
    for number, nodeids in enumerate(shards, 1):
        left = folder / f"shard-{number}"
        (left / "coverage").mkdir(parents=True)
        (left / "coverage" / "coverage.toml").write_text("[tool.coverage.run]\nbranch = true\nrelative_files = true\n")
        data = CoverageData(str(left / "coverage" / "data"))
        line = number % 20 * 6 + 1
        arcs = [(-line, line + 1), (line + 1, line + 2 + number % 2), (line + 2 + number % 2, -line)]
        data.add_arcs({f"module_{module}.py": arcs for module in range(number % 7, MODULES, 7)})
        data.close()
        results = tuple(TestResult(nodeid=each, outcome="passed", duration=seconds[each]) for each in nodeids)
        report = Report(
            result="green",
            counts={"total": len(results), "passed": len(results)},
            run=Run(id="1", workers=4, started="2026-01-01T00:00:00+00:00"),
            tests=results,
            timing={"test": sum(seconds[each] for each in nodeids) / 4},
            shard=Shard(name=f"{number}/{len(shards)}", plan=digest),
        )
        (left / "report.json").write_bytes(report_json(report))
        folders.append(left)
    return project, folders


if __name__ == "__main__":
    sys.exit(main())
