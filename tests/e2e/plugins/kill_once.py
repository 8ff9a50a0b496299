"""Kills one process of the run in the middle of a test: the one that the file named by KILL_ONCE names, and only once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg

_ORDER = Path(os.environ["KILL_ONCE"])
_TESTS_BEFORE = 5
_begun: list[str] = []


def pytest_runtest_call(item) -> None:
    _begun.append(item.nodeid)
    if len(_begun) <= _TESTS_BEFORE:
        return
    try:
        victim = _ORDER.read_text()
        _ORDER.unlink()
    except FileNotFoundError:
        return
    os.kill(_pid_of(victim), signal.SIGKILL)


def _pid_of(victim: str) -> int:
    if victim == "server":
        with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
            (data,) = connection.execute("SHOW data_directory").fetchone()
        return int(Path(data, "postmaster.pid").read_text().split()[0])
    return _controller() if victim == "controller" else os.getpid()


def _controller() -> int:
    """The parent, or the parent of the process that this worker was forked from."""
    parent = os.getppid()
    if "server.py" not in Path(f"/proc/{parent}/cmdline").read_text():
        return parent
    return int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
