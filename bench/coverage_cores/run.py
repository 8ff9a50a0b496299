"""Compare coverage.py's cores and concurrency settings on an async SQLAlchemy application: what is right, what is fast.

    python bench/coverage_cores/run.py [--server URL] [--rounds 5] PYTHON [PYTHON ...]

PYTHON is an interpreter; each gets its own environment with the newest packages (uv must be on PATH). URL is a
PostgreSQL server on which schemas named measured_* may be made. Prints the tables of docs/coverage.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
APP = HERE / "app"
PACKAGES = [
    "coverage", "pytest", "pytest-cov", "pytest-xdist", "pytest-asyncio",
    "sqlalchemy[asyncio]", "asyncpg", "fastapi", "httpx",
]
CONCURRENCIES = ["", "greenlet", "thread", "greenlet,thread"]
WAYS = [("ctrace", "", True), ("ctrace", "greenlet,thread", True), ("pytrace", "", True), ("sysmon", "", False)]
LOADS: dict[str, dict[str, str]] = {"test_measured.py": {"MEASURED_REPEAT": "3"}, "letters.py": {}}


@dataclass(frozen=True)
class Case:
    """One way to measure: a core, a concurrency setting, with or without branches and workers."""

    core: str
    concurrency: str
    branch: bool
    workers: int

    def rcfile(self) -> str:
        lines = ["[run]", f"core = {self.core}", f"branch = {self.branch}"]
        if self.concurrency:
            lines.append(f"concurrency = {self.concurrency}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Truth:
    """What the markers saw, and all that they could have seen."""

    lines: set[int]
    all_lines: set[int]
    arms: set[tuple[int, int, bool]]
    all_arms: set[tuple[int, int, bool]]


@dataclass(frozen=True)
class Verdict:
    """How a case differs from the truth."""

    wrong_lines: int = 0
    wrong_arms: int | None = None
    note: str = ""


@dataclass
class Bench:
    """An interpreter's environment, the server, and a scratch folder."""

    python: str
    server: str
    scratch: Path
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.version = self._python("import platform; print(platform.python_version())")

    def packages(self) -> str:
        wanted = ("coverage", "pytest-cov", "pytest-xdist", "SQLAlchemy", "greenlet", "asyncpg", "fastapi")
        code = f"from importlib.metadata import version\nprint(*(n.lower() + ' ' + version(n) for n in {wanted}), sep=', ')"
        return self._python(code)

    def _python(self, code: str) -> str:
        return subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    def pytest(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments],
            cwd=APP, env=dict(os.environ, DATABASE_URL=self.server, PYTHONPATH=str(HERE), **environ),
            capture_output=True, text=True, check=False,
        )

    def truth(self) -> Truth:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            run = self.pytest("-p", "truth", TRUTH=folder)
            if run.returncode:
                raise SystemExit(run.stdout + run.stderr)
            facts = json.loads(next(Path(folder).glob("*.json")).read_text())
        return Truth(
            set(facts["lines"]), set(facts["all_lines"]), set(map(tuple, facts["arms"])), set(map(tuple, facts["all_arms"]))
        )

    def measure(self, case: Case) -> tuple[dict[str, list[int]] | None, str]:
        """The report of coverage.py on measured.py and its first complaint, or None and the reason why there is none."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            rcfile, report = Path(folder, "rc"), Path(folder, "report.json")
            rcfile.write_text(case.rcfile())
            workers = ["-n", str(case.workers)] if case.workers else []
            run = self.pytest(
                "--cov=measured", f"--cov-config={rcfile}", f"--cov-report=json:{report}", *workers,
                COVERAGE_FILE=str(Path(folder, "data")),
            )
            complaint = re.search(r"Can't (?:use core|support concurrency)=\w+[^\n]*?(?=, using|, only|$)", run.stdout + run.stderr)
            note = complaint[0] if complaint else ""
            if not report.exists():
                return None, note or run.stdout[-500:] + run.stderr[-500:]
            if run.returncode:
                raise SystemExit(run.stdout + run.stderr)
            return json.loads(report.read_text())["files"]["measured.py"], note


def judge(report: dict[str, list[int]] | None, note: str, truth: Truth, *, branch: bool) -> Verdict:
    if report is None:
        return Verdict(-1, None, note)
    executed, missing = set(report["executed_lines"]), set(report["missing_lines"])
    wrong_lines = len(truth.lines & missing) + len((truth.all_lines - truth.lines) & executed)
    if not branch:
        return Verdict(wrong_lines, None, note)
    branches = {tuple(pair) for pair in report["executed_branches"]}
    known = branches | {tuple(pair) for pair in report["missing_branches"]}
    wrong_arms = 0
    for line, body, arm in truth.all_arms:
        if line not in {source for source, _ in known}:
            continue
        taken = any(source == line and (target == body) == arm for source, target in branches)
        wrong_arms += taken != ((line, body, arm) in truth.arms)
    return Verdict(wrong_lines, wrong_arms, note)


def cases(version: str) -> Iterator[Case]:
    sysmon = tuple(map(int, version.split(".")[:2])) >= (3, 12)
    for core in ["ctrace", "pytrace", *(["sysmon"] if sysmon else [])]:
        for concurrency in CONCURRENCIES:
            for workers in (0, 2):
                yield Case(core, concurrency, True, workers)
    if sysmon:
        for workers in (0, 2):
            yield Case("sysmon", "", False, workers)


def correctness(bench: Bench) -> None:
    truth = bench.truth()
    print(f"\n### Python {bench.version}\n\n{bench.packages()}; {len(truth.all_lines)} lines, {len(truth.all_arms)} arms.\n")
    print("| core | concurrency | wrong lines | wrong arms | with 2 workers: lines | arms | what coverage.py says |")
    print("|---|---|---|---|---|---|---|")
    verdicts = {case: judge(*bench.measure(case), truth, branch=case.branch) for case in cases(bench.version)}
    for case, alone in verdicts.items():
        if case.workers:
            continue
        shared = verdicts[Case(case.core, case.concurrency, case.branch, 2)]
        core = case.core if case.branch else f"{case.core}, lines only"
        cells = [core, case.concurrency or "(none)", *figures(alone), *figures(shared), alone.note]
        print("| " + " | ".join(cells) + " |", flush=True)


def figures(verdict: Verdict) -> list[str]:
    if verdict.wrong_lines < 0:
        return ["refused", "refused"]
    return [str(verdict.wrong_lines), "-" if verdict.wrong_arms is None else str(verdict.wrong_arms)]


def speed(bench: Bench, rounds: int) -> None:
    """Processor seconds. Each round runs every way once, so that a noisy minute touches all of them."""
    ways: dict[str, list[str]] = {"no coverage": []}
    for core, concurrency, branch in WAYS:
        rcfile = bench.scratch / f"speed-{len(ways)}"
        rcfile.write_text(Case(core, concurrency, branch, 0).rcfile())
        name = f"{core}, {concurrency or '(none)'}" + ("" if branch else ", lines only")
        ways[name] = ["--cov=measured", f"--cov-config={rcfile}", "--cov-report="]
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for load, environ in LOADS.items():
            for name, arguments in ways.items():
                before = processor_seconds()
                run = bench.pytest(load, *arguments, COVERAGE_FILE=str(bench.scratch / "data"), **environ)
                if run.returncode:
                    raise SystemExit(run.stdout + run.stderr)
                seconds.setdefault((name, load), []).append(processor_seconds() - before)
    print(f"\n### Processor seconds, Python {bench.version}, median of {rounds} interleaved rounds\n")
    print("| core, concurrency | suite with database | ratio | only Python lines | ratio |")
    print("|---|---|---|---|---|")
    for name in ways:
        cells = []
        for load in LOADS:
            median = statistics.median(seconds[name, load])
            cells += [f"{median:.2f}", f"{median / statistics.median(seconds['no coverage', load]):.2f}"]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


def processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="+")
    parser.add_argument("--server", default="postgresql+asyncpg://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--rounds", type=int, default=5, help="of the comparison of speed; 0 leaves it out")
    parser.add_argument("--speed-only", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for number, python in enumerate(given.python):
            environment = scratch / f"environment-{number}"
            subprocess.run(["uv", "venv", "-q", "--python", python, environment], check=True)
            inside = str(environment / "bin" / "python")
            subprocess.run(["uv", "pip", "install", "-q", "--compile-bytecode", "--python", inside, *PACKAGES], check=True)
            bench = Bench(inside, given.server, scratch)
            if not given.speed_only:
                correctness(bench)
            if number == len(given.python) - 1 and given.rounds:
                speed(bench, given.rounds)


if __name__ == "__main__":
    sys.exit(main())
