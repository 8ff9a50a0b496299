"""A pytest plugin that writes down what the caller's own pytest took: the part of a job that is not ours."""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path

import pytest

_ended: dict[int, int] = {}
"""The exit code, by the process that pytest was called in; its workers and what it forks are counted with it."""


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not hasattr(session.config, "workerinput"):
        _ended[os.getpid()] = int(exitstatus)


def _write() -> None:
    """The end of a process that has waited for its workers; what Python takes to free everything would not be counted."""
    code = _ended.get(os.getpid())
    if code is None:
        return
    taken = os.times()
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    wall = float(Path("/proc/uptime").read_text().split()[0]) - started
    with Path(os.environ["BENCH_CLOCK"]).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"wall": wall, "cpu": sum(taken[:4])}) + "\n")
    sys.stdout.flush()
    os._exit(code)


# As early as can be, so that it is called last.
atexit.register(_write)
