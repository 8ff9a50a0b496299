"""Processor time of a PostgreSQL server, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["parent_of", "server_seconds"]

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def server_seconds(postmaster: int) -> float:
    """Processor time of a server since its start, its ended backends included, in seconds.

    :param postmaster: the process id of its first process.
    """
    parent = str(postmaster)
    ticks = sum(map(int, _fields(postmaster)[11:15]))  # its own and that of the children that have ended
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = _fields(int(entry.name))
            except OSError:
                continue  # it has ended since; the next call finds it with its parent
            if fields[1] == parent:
                ticks += sum(map(int, fields[11:13]))
    return ticks * _TICK


def parent_of(process: int) -> int:
    """The process id of a process's parent."""
    return int(_fields(process)[1])


def _fields(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one on, which follow the name in parentheses."""
    return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
