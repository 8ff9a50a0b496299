#!/usr/bin/env python3
"""Measure what the action adds to a job, step by step under act: bench/overhead/run.py [--rounds N]

A job of the example runs on this machine twice, first with nothing of ours there, then once more. Everything counts that
is neither the caller's install nor their tests: their requirements are installed beforehand, and what their pytest takes
is subtracted. Prints the table and writes it to bench/overhead/results.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parents[1]
SOURCES = [str(ROOT / name) for name in ("scripts", "fixtures_pkg/src", "tests/fakes")]
sys.path[:0] = SOURCES

from pytest_savepoint.cache import cache_directory  # noqa: E402 - after the path is set
from savepoint_ci.locked_environment import locked_environment, python_of  # noqa: E402


def main() -> int:
    if "--help" in sys.argv[1:]:
        print(__doc__)
        return 0
    lock = ROOT / "scripts" / "requirements-dev.txt"
    environment = locked_environment(cache_directory(os.environ) / "development", lock)
    command = [str(python_of(environment)), str(BENCH / "jobs.py"), *sys.argv[1:]]
    return subprocess.call(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)})


if __name__ == "__main__":
    sys.exit(main())
