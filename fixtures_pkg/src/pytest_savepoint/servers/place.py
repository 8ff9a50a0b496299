"""The folder for the data directories of one cache: in memory where there is room."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.account import Account

__all__ = ["all_places", "kept_servers", "server_place"]

_ROOM = 1 << 30


def server_place(cache: Path, account: Account) -> Path:
    """The first place that is ours alone and that `account` can reach; it is made when missing.

    :raises ServerError: when there is none.
    """
    for place in all_places(cache):
        if _has_room(place) and _is_ours(place, account) and account.can_reach(place):
            return place
    tried = ", ".join(str(place) for place in all_places(cache))
    raise ServerError(
        f"No folder for a server's data: each of {tried} belongs to somebody else or cannot be reached.\n"
        "Set SAVEPOINT_CACHE to a folder of your own."
    )


def all_places(cache: Path) -> list[Path]:
    """Every folder in which a server of this cache may have its data."""
    # Caches are apart also in shared memory: whoever names another cache gets servers of their own.
    mine = f"savepoint-{os.geteuid()}"
    mark = hashlib.sha256(str(cache).encode()).hexdigest()[:8]
    return [Path("/dev/shm") / mine / mark, cache / "servers", Path(tempfile.gettempdir()) / mine / mark]  # noqa: S108


def kept_servers(cache: Path) -> Iterator[Path]:
    """The folders of this cache's servers that are to run although nobody uses them."""
    for place in all_places(cache):
        for mark in place.glob("*/kept"):
            yield mark.parent


def _has_room(place: Path) -> bool:
    memory = place.parent.parent
    if memory != Path("/dev/shm") or place.exists():  # noqa: S108
        return True
    return memory.is_dir() and shutil.disk_usage(memory).free >= _ROOM


def _is_ours(place: Path, account: Account) -> bool:
    # /dev/shm and /tmp belong to all: somebody may have put a folder or a link of that name there.
    mode = 0o711 if account.switched else 0o700
    try:
        for folder in _missing_or_ours(place):
            folder.mkdir(mode=mode, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                return False
    except OSError:
        return False
    return True


def _missing_or_ours(place: Path) -> Iterator[Path]:
    missing = [folder for folder in reversed(place.parents) if not folder.exists()]
    yield from missing
    if place.parent not in missing:
        yield place.parent
    yield place
