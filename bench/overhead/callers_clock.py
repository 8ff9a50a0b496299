"""A pytest plugin that writes down what the caller's own pytest took: the part of a job that is not ours."""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        atexit.register(_write, os.environ["BENCH_CLOCK"])


def _write(file: str) -> None:
    """The end of a process that has waited for its workers."""
    taken = os.times()
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    wall = float(Path("/proc/uptime").read_text().split()[0]) - started
    with Path(file).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"wall": wall, "cpu": sum(taken[:4])}) + "\n")
