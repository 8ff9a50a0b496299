"""The jobs, and the table of their steps; called by run.py in the development environment."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from caller import ROOT, Caller, published
from programs import UV

BENCH = Path(__file__).resolve().parent
WORKFLOW = ROOT / "workflows" / "minimal.yml"
STEPS = {step["name"]: step.get("id") for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]}
KINDS = ("cold", "warm")
WANTED = {"cold": 5.0, "warm": 2.0}
Taken = tuple[float, float]
"""Seconds by the clock, and of processors."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/overhead/run.py")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    samples: defaultdict[tuple[str, str], list[Taken]] = defaultdict(list)
    loops: list[float] = []
    tests = 0
    for number in range(1, given.rounds + 1):
        with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
            # The server's own account has to reach it.
            Path(folder).chmod(0o755)
            caller = prepare(Path(folder))
            loops += [_million_additions() for _ in range(5)]
            for kind in KINDS:
                (caller.folder / "change.txt").write_text(kind)
                for step, taken in measure(caller):
                    samples[kind, step].append(taken)
            tests = json.loads((caller.artifacts / "savepoint" / "report.json").read_text())["counts"]["total"]
        print(f"round {number} of {given.rounds}", file=sys.stderr, flush=True)
    text = page(samples, given.rounds, tests, statistics.median(loops))
    print(text)
    (BENCH / "results.md").write_text(text)
    return 0


def prepare(folder: Path) -> Caller:
    """The example in a repository of its own, its requirements installed, and nothing of ours on the machine."""
    shop = folder / "shop"
    shutil.copytree(ROOT / "examples" / "shop", shop, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    environment = folder / "environment"
    python = environment / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--no-project", "--python", sys.executable, environment], check=True)
    install = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--python",
        python,
        "-r",
        shop / "requirements.txt",
    ]
    subprocess.run(install, check=True, cwd=folder)
    # A version manager's, as there may be one on PATH, takes longer to find uv than uv to work.
    (environment / "bin" / "uv").symlink_to(UV)
    ours = ("SAVEPOINT_", "PYTEST_", "COV_", "PYTHON")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    caller = Caller(
        shop,
        kept
        | {
            "VIRTUAL_ENV": str(environment),
            "PATH": os.pathsep.join((str(environment / "bin"), os.environ["PATH"], str(Path.home() / "go" / "bin"))),
            "SAVEPOINT_CACHE": str(folder / "cache"),
            "STAND_IN_SAVEPOINT": str(published(folder / "savepoint")),
            "PYTHONPATH": str(BENCH),
            "PYTEST_ADDOPTS": "-p callers_clock",
            "BENCH_CLOCK": str(folder / "clock"),
        },
    )
    caller.use(WORKFLOW)
    workflow = shop / ".github" / "workflows" / WORKFLOW.name
    keep = "\n      - uses: actions/upload-artifact@v7\n        with:\n          name: savepoint\n          path: .savepoint\n"
    workflow.write_text(workflow.read_text().rstrip() + keep)
    return caller


def measure(caller: Caller) -> Iterator[tuple[str, Taken]]:
    """Run the job, and give each step of the action with what it took, the caller's pytest left out.

    :raises SystemExit: with act's log when the job failed.
    """
    clock = Path(caller.environ["BENCH_CLOCK"])
    clock.unlink(missing_ok=True)
    process = caller.start_act("--json")
    assert process.stdout
    before, log = 0.0, ""
    for line in process.stdout:
        log += line
        ended = _ended_step(line)
        if not ended:
            continue
        now = _processor_seconds(process.pid)
        name, wall = ended
        taken = wall, now - before
        before = now
        if STEPS.get(name) == "suite":
            of_caller = [json.loads(each) for each in clock.read_text().splitlines()]
            taken = wall - sum(each["wall"] for each in of_caller), taken[1] - sum(each["cpu"] for each in of_caller)
        if name.removesuffix(" (its end)") in STEPS:
            yield name, taken
    if process.wait():
        raise SystemExit(f"The job failed:\n{log[-5000:]}")


def _million_additions() -> float:
    """Processor time of a plain loop: the measure of how fast this machine is just now."""
    number, start = 0, time.process_time()
    for each in range(1_000_000):
        number += each
    return time.process_time() - start


def _ended_step(line: str) -> tuple[str, float] | None:
    """The step that a line of act's log says has ended, and its seconds; of ours also the clean-up after the job."""
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    if "executionTime" not in said or said.get("stage") == "Pre":
        return None
    name = said["msg"].partition(f"- {said['stage']} ")[2].rpartition(" [")[0]
    return (f"{name} (its end)" if said["stage"] == "Post" else name), said["executionTime"] / 1e9


def _processor_seconds(process: int) -> float:
    """Processor time of the ended children of a process, and of theirs."""
    fields = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def page(samples: dict[tuple[str, str], list[Taken]], rounds: int, tests: int, loop: float) -> str:
    steps = list(dict.fromkeys(step for _, step in samples))
    medians = {
        key: tuple(statistics.median(each) for each in zip(*taken, strict=True)) for key, taken in samples.items()
    }
    sums = {kind: [sum(medians[kind, step][place] for step in steps) for place in (0, 1)] for kind in KINDS}
    rows = [[step, *(f"{seconds:.2f}" for kind in KINDS for seconds in medians[kind, step])] for step in steps]
    rows += [["**together**", *(f"**{seconds:.2f}**" for kind in KINDS for seconds in sums[kind])]]
    rows += [["wanted", *(text for kind in KINDS for text in (f"{WANTED[kind]:.2f}", ""))]]
    heads = ["step", "cold, s", "processors", "warm, s", "processors"]
    lines = [heads, ["---", *["---:"] * 4], *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return (
        "# What the action adds to a job\n\n"
        f"Written by `bench/run overhead` on {datetime.now(timezone.utc):%Y-%m-%d}; medians of {rounds} rounds under act on\n"
        f"this machine ({os.cpu_count()} processors, load average {os.getloadavg()[1]:.1f} over the last 5 minutes). Where that is more than\n"
        f"the processors, read processor time, and that with the machine in mind: a million additions take Python {1000 * loop:.0f} ms\n"
        f"here and now. The job tests the example shop ({tests} tests, 8 migrations). Its requirements are there, and what its\n"
        "pytest takes is not counted; its migrations are. Cold has nothing of ours: the tool's environment, the fixture\n"
        "package, the server and the template are made, with packages from uv's cache. Warm is the next job on the same\n"
        "machine; its server is started again, with the template that the first job left. What goes on beside the steps is\n"
        "not in their processor time: the server's start, and the caller's coverage.py, which is loaded beside the template.\n\n"
        f"{table}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
