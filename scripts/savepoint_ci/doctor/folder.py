"""Reads a project's sources and configuration from its folder; the only file here that touches the disk."""

from __future__ import annotations

import fnmatch
import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from savepoint_ci.doctor.project import Project
from savepoint_ci.doctor.source import Source, parse
from savepoint_ci.doctor.suite import CONFIGURATIONS, Suite, read_suite

__all__ = ["Folder", "read_folder", "read_text"]

_NEVER = ("node_modules", "__pycache__", "build", "dist", "site-packages", "*.egg", "*.egg-info")
_LARGEST = 2_000_000


@dataclass(frozen=True)
class Folder:
    """A project as it lies on the disk, and what of it could not be read."""

    root: Path
    project: Project
    unread: tuple[str, ...]


def read_folder(root: Path) -> Folder:
    """Read every Python file below a folder that is not installed, generated, hidden, or reached through a link."""
    sources: dict[PurePosixPath, Source] = {}
    suites: dict[PurePosixPath, Suite] = {}
    unread: list[str] = []
    for folder, names in _walk(root, suites):
        for name in names:
            path = folder / name
            try:
                sources[path] = parse(path, read_text(root / path))
            except (SyntaxError, ValueError, OSError, RecursionError) as error:
                unread.append(f"{path} could not be read: {error}")
    return Folder(root, Project(sources, suites), tuple(unread))


def read_text(path: Path) -> str:
    """A Python file's text with its line ends as they are.

    :raises SyntaxError: when its encoding cannot be told.
    :raises UnicodeDecodeError: when it is not in that encoding.
    """
    data = path.read_bytes()
    if len(data) > _LARGEST:
        raise ValueError(f"it has {len(data)} bytes; the limit is {_LARGEST}")
    encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
    return data.decode(encoding)


def _walk(root: Path, suites: dict[PurePosixPath, Suite]) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """Each folder with its Python files; the suites are noted on the way down."""
    ignored: dict[PurePosixPath, tuple[str, ...]] = {}
    for directory, folders, files in os.walk(root):
        folder = PurePosixPath(Path(directory).relative_to(root).as_posix())
        if suite := read_suite(folder, _configurations(Path(directory), files)):
            suites[folder] = suite
        nearest = next((ignored[each] for each in (folder, *folder.parents) if each in ignored), ())
        ignored[folder] = suite.ignored_folders if suite and suite.ignored_folders else nearest
        folders[:] = sorted(
            name for name in folders if not _is_left_out(Path(directory, name), (*_NEVER, *ignored[folder]))
        )
        yield folder, sorted(name for name in files if name.endswith(".py") and not Path(directory, name).is_symlink())


def _configurations(directory: Path, files: list[str]) -> dict[str, str]:
    found = {}
    for name in CONFIGURATIONS:
        if name in files:
            try:
                found[name] = Path(directory, name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
    return found


def _is_left_out(folder: Path, patterns: tuple[str, ...]) -> bool:
    if folder.name.startswith(".") or folder.is_symlink() or (folder / "pyvenv.cfg").exists():
        return True
    return any(fnmatch.fnmatch(folder.name, pattern) for pattern in patterns)
