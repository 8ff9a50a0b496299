"""The lines that a change adds or rewrites, by file, in the working tree that was tested.

Our own, because diff-cover 11.0.1 fails tests of tests/scripts/suite/test_changed_lines.py: it counts git's "No newline
at end of file" as a line, loses the front of a path like "a b/c.py", obeys the caller's diff.relative and diff.renames,
does not count a change inside a call of several lines, and needs Python 3.11.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from savepoint_ci.suite.merge_base import Git, GitError, NoBaseError, find_base

__all__ = ["changed_lines"]

_DIFF = (
    # Each of these overrides a setting with which a caller's git would print something else.
    "diff", "--patch", "--unified=0", "--inter-hunk-context=0", "--find-renames", "--no-relative", "--no-color",
    "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
_HUNK = re.compile(rb"@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


def changed_lines(project: Path, *, compare_to: str, environ: Mapping[str, str]) -> dict[str, list[int]]:
    """The numbers of the changed lines of each file; paths are relative to the project, POSIX style.

    :param project: a folder in the repository, not necessarily its root.
    :param compare_to: a branch or commit; empty takes the base of the event, else the default branch.
    :param environ: the job's environment.
    :raises NoBaseError: when there is nothing to compare with.
    """
    git = Git(project, environ)
    base = find_base(git, compare_to=compare_to, environ=environ)
    try:
        prefix = git("rev-parse", "--show-prefix") or "."
        found = _read(_diff(git, base))
    except GitError as error:
        raise NoBaseError(f"git diff failed: {error}.") from None
    return {posixpath.relpath(path, prefix): lines for path, lines in found.items()}


def _diff(git: Git, base: str) -> Iterable[bytes]:
    command = [*git.command, *_DIFF, base, "--"]
    with subprocess.Popen(
        command, env=git.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout is not None
        yield from run.stdout
    if run.returncode:
        raise GitError(f"exit code {run.returncode} for {base}")


def _read(lines: Iterable[bytes]) -> dict[str, list[int]]:
    changed: dict[str, list[int]] = {}
    path: str | None = None
    in_header = False
    for line in lines:
        # Content begins with +, - or \, so it is never taken for one of these.
        if line.startswith(b"diff --git "):
            path, in_header = None, True
        elif in_header and line.startswith(b"+++ "):
            path = _path(line)
        elif hunk := _HUNK.match(line):
            in_header = False
            first, count = int(hunk[1]), int(hunk[2] or 1)
            if path is not None and count:
                changed.setdefault(path, []).extend(range(first, first + count))
    return changed


def _path(line: bytes) -> str | None:
    """The path of a `+++` line: quoted as in C where it must be, with a tab after it where it has a space."""
    name = line.removeprefix(b"+++ ").removesuffix(b"\n").removesuffix(b"\t")
    if name == b"/dev/null":
        return None
    if name.startswith(b'"'):
        name = _ESCAPE.sub(_unescaped, name[1:-1])
    return os.fsdecode(name.removeprefix(b"b/"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    text = found[1]
    return bytes([int(text, 8)]) if len(text) == 3 else _ESCAPED.get(text, text)
