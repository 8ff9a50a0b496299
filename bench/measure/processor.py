"""Processor time of servers, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["parent_of", "server_seconds"]

_TICK = 1 / os.sysconf("SC_CLK_TCK")


def server_seconds(servers: Iterable[int]) -> float:
    """Processor time of servers since their start, ended backends included, in seconds.

    :param servers: the process id of the first process of each.
    """
    parents = {str(server) for server in servers}
    # Their own and that of the children that have ended.
    ticks = sum(sum(map(int, _fields(int(parent))[11:15])) for parent in parents)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = _fields(int(entry.name))
            except OSError:
                continue  # it has ended since; the next call finds it with its parent
            if fields[1] in parents:
                ticks += sum(map(int, fields[11:13]))
    return ticks * _TICK


def parent_of(process: int) -> int:
    """The process id of a process's parent."""
    return int(_fields(process)[1])


def _fields(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one on, which follow the name in parentheses."""
    return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
