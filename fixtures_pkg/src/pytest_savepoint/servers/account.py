"""The system user that runs postgres, which refuses to run as root."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint.errors import ServerError

if sys.platform != "win32":
    import pwd

__all__ = ["Account", "server_account"]


@dataclass(frozen=True)
class Account:
    """A user and group; `switched` when it is not the one that runs us."""

    name: str
    uid: int
    gid: int
    switched: bool

    def run(self, command: Sequence[str | Path], *, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, with its output as text and without the caller's PG* variables."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(
            [str(part) for part in command],
            # A macOS postmaster turns multithreaded, and dies, when the locale is not set.
            env=environ | {"LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, not for the server
            user=self.uid if self.switched else None,
            group=self.gid if self.switched else None,
            extra_groups=[] if self.switched else None,
        )

    def make_folder(self, folder: Path) -> None:
        """Make a folder that only this account can enter."""
        folder.mkdir(mode=0o700)
        os.chown(folder, self.uid, self.gid)

    def write(self, path: Path, text: str) -> None:
        """Write a file that only this account can read, never through a link that the account left there."""
        path.unlink(missing_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as opened:
            os.fchown(file, self.uid, self.gid)
            opened.write(text)

    def can_reach(self, folder: Path) -> bool:
        """Whether this account may enter `folder` and every folder above it."""
        if not self.switched:
            return True
        path = folder.resolve()
        return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents))


def server_account() -> Account:
    """Ourselves, or for root the user postgres, else nobody.

    :raises ServerError: when we are root and neither exists.
    """
    if os.geteuid() != 0:
        return Account("", os.geteuid(), os.getegid(), switched=False)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, switched=True)
    raise ServerError(
        "PostgreSQL refuses to run as root, and this machine has neither a user postgres nor a user nobody.\n"
        "Add one (useradd --system postgres), or run as another user."
    )
