"""Runs a measuring script in the development environment, with the project's code and its stand-ins on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [str(ROOT / name) for name in ("scripts", "fixtures_pkg/src", "tests/fakes")]
sys.path[:0] = SOURCES

from pytest_savepoint.cache import cache_directory  # noqa: E402 - after the path is set
from savepoint_ci.locked_environment import locked_environment, python_of  # noqa: E402

__all__ = ["call"]


def call(script: Path, usage: str | None) -> int:
    """Run `script` with the arguments of this process, or print `usage` when they ask for help; give its exit code."""
    if "--help" in sys.argv[1:]:
        print(usage)
        return 0
    lock = ROOT / "scripts" / "requirements-dev.txt"
    environment = locked_environment(cache_directory(os.environ) / "development", lock)
    command = [str(python_of(environment)), "-W", "ignore", str(script), *sys.argv[1:]]
    return subprocess.call(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)})
