"""From edits to new texts of files: shown as a diff, and written only inside the project."""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import sys
import tempfile
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from savepoint_ci.doctor.edits import Edit, apply, diff
from savepoint_ci.doctor.folder import read_text
from savepoint_ci.doctor.tidy import tidied

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Change", "Refusal", "changes", "write"]


@dataclass(frozen=True)
class Change:
    """A file's text before and after; `before` is None for a file that is not there yet."""

    path: PurePosixPath
    before: str | None
    after: str

    @property
    def diff(self) -> str:
        return diff(self.path, self.before, self.after)


class Refusal(Exception):  # noqa: N818 - what it says to people
    """A change that is not made, and why."""


def changes(root: Path, edits: Iterable[Edit]) -> tuple[list[Change], list[str]]:
    """The changes that edits make, and why others are not made.

    :param root: the project's folder, to which paths of edits are relative.
    """
    by_path: dict[PurePosixPath, list[Edit]] = {}
    for edit in edits:
        by_path.setdefault(edit.path, []).append(edit)
    made, refused = [], []
    for path, of_file in sorted(by_path.items()):
        try:
            change = _change(root, path, of_file)
        except (Refusal, OSError, ValueError, SyntaxError, configparser.Error) as error:
            refused.append(f"{path} is left as it is: {error}")
            continue
        if change.after != change.before:
            made.append(change)
    return made, refused


def _change(root: Path, path: PurePosixPath, edits: list[Edit]) -> Change:
    file = _inside(root, path)
    before = read_text(file) if file.exists() else None
    after = apply(before or "", edits)
    if path.suffix == ".py":
        after = tidied(path, before or "", after)
        ast.parse(after)
    elif path.suffix == ".toml":
        tomllib.loads(after)
    else:
        configparser.RawConfigParser(strict=False).read_string(after)
    return Change(path, before, after)


def write(root: Path, change: Change) -> None:
    """Put the new text in the place of the old one at once, with the file's mode and encoding.

    :raises Refusal: when the file is not in the project any more, or has changed meanwhile.
    """
    file = _inside(root, change.path)
    if (read_text(file) if file.exists() else None) != change.before:
        raise Refusal(f"{change.path} has changed meanwhile")
    encoding = tokenize.detect_encoding(BytesIO(file.read_bytes()).readline)[0] if file.exists() else "utf-8"
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as new:
            new.write(change.after.encode(encoding))
        if file.exists():
            shutil.copymode(file, name)
        else:
            Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _inside(root: Path, path: PurePosixPath) -> Path:
    """The file, when it lies in the project and no link leads elsewhere.

    :raises Refusal: otherwise.
    """
    file = root / path
    if path.is_absolute() or ".." in path.parts or file.is_symlink():
        raise Refusal("it is a link, or lies outside of the project")
    if not file.parent.resolve().is_relative_to(root.resolve()):
        raise Refusal("a link leads out of the project")
    return file
