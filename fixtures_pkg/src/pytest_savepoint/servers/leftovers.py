"""What dead runs left on this machine: local servers and containers."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pytest_savepoint.address import Address
from pytest_savepoint.errors import ServerError
from pytest_savepoint.servers.container import kept_notes, read_note
from pytest_savepoint.servers.docker import lease_of, our_containers, remove_container
from pytest_savepoint.servers.local import Turn, Users
from pytest_savepoint.servers.place import all_places
from pytest_savepoint.servers.postmaster import Postmaster

__all__ = ["living_servers", "remove_idle_containers", "remove_idle_servers"]

_ANSWER_SECONDS = 5.0


def living_servers(cache: Path) -> Iterator[Address]:
    """The addresses of the local servers of this cache that run."""
    for folder in _server_folders(cache):
        running = Postmaster(folder).running(timeout=_ANSWER_SECONDS)
        if running is not None:
            yield running.address


def remove_idle_servers(cache: Path, *, timeout: float, kept: bool) -> list[str]:
    """Stop the local servers of this cache that no run uses, remove their folders, and give their paths.

    :param timeout: seconds to wait for a run that is just starting or stopping one.
    :param kept: also those that are kept.
    """
    removed = [str(folder) for folder in _server_folders(cache) if _remove(folder, timeout, kept=kept)]
    for place in all_places(cache):
        if place.is_dir() and not any(place.glob("*.turn")):
            for copy in place.glob("binaries-*"):
                shutil.rmtree(copy, ignore_errors=True)
            with contextlib.suppress(OSError):  # somebody begins to use it again
                place.rmdir()
                place.parent.rmdir()
    return removed


def _remove(folder: Path, timeout: float, *, kept: bool) -> bool:
    turn, users = Turn(folder), Users(folder)
    if not turn.acquire(timeout=timeout):
        return False
    try:
        postmaster = Postmaster(folder)
        if not users.acquire() or (postmaster.is_kept and not kept):
            return False
        postmaster.remove()
        users.remove()
        turn.remove()
    finally:
        users.release()
        turn.release()
    return True


def _server_folders(cache: Path) -> list[Path]:
    if sys.platform == "win32":
        return []
    locks = [lock for place in all_places(cache) for lock in sorted(place.glob("*.turn"))]
    return [lock.with_suffix("") for lock in locks]


def remove_idle_containers(cache: Path, *, kept: bool) -> list[str]:
    """Remove the containers of this cache whose owner lives no more, and give their names.

    :param kept: also those that are kept.
    :raises ServerError: when there should be some, and docker does not answer.
    """
    if shutil.which("docker") is None:
        return []
    try:
        names = our_containers(cache)
    except ServerError:
        if any(kept_notes(cache)):
            raise
        return []
    spared = set() if kept else {read_note(note)[0] for note in kept_notes(cache)}
    removed = []
    for name in names:
        if name in spared:
            continue
        lease = lease_of(cache, name)
        if not lease.acquire():
            continue
        remove_container(name)
        lease.remove()
        lease.release()
        removed.append(name)
    if not our_containers(cache):
        for note in kept_notes(cache):
            note.unlink(missing_ok=True)
    return removed
