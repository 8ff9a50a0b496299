#!/usr/bin/env python3
"""Read and show many hostile files: bench/fuzz/run.py [--examples N] [--first N] [--processes N]

Report, evidence, event, history and coverage files, right ones changed by chance. Each must be refused with a message,
or every rendering of it must be text and nothing else, as GitHub's Markdown parser and a browser's HTML parser read it.
Prints the table and writes that of 100,000 examples and more to bench/fuzz/results.md. An example that breaks a law is
named by kind and number, and `example(kind, number)` in tests/fakes/hostile_files.py makes it again.
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
    command = [str(python_of(environment)), "-W", "ignore", str(BENCH / "examples.py"), *sys.argv[1:]]
    return subprocess.call(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)})


if __name__ == "__main__":
    sys.exit(main())
