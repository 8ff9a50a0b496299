"""The commit that a change is compared with, also in the shallow checkouts of CI."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pytest_savepoint.errors import SavepointError

from savepoint_ci.github.event import Event, EventError, read_event

__all__ = ["Git", "GitError", "NoBaseError", "find_base"]

_DEPTHS = (50, 500, 5_000)
_FETCH_SECONDS = 60
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


class NoBaseError(SavepointError):
    """There is nothing to compare the change with; the message says why and what to do."""


class GitError(Exception):
    """git said no; the message is its reason, without credentials."""


class Git:
    """git in one folder: never asking a person, never waiting for a lock that it does not need."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.command = ["git", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-C", str(folder)]
        self.environ = {
            **environ,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_SSH_COMMAND": environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            "LC_ALL": "C",
        }

    def __call__(self, *arguments: str, timeout: float | None = None) -> str:
        """Run git and return what it prints, without the last line end.

        :raises GitError: when it fails, is not there, or takes longer than `timeout` seconds.
        """
        try:
            done = subprocess.run(
                [*self.command, *arguments], env=self.environ, stdin=subprocess.DEVNULL, capture_output=True,
                check=False, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise GitError(f"git {arguments[0]} did not end within {timeout:.0f} s") from None
        except OSError as error:
            raise GitError(f"git cannot be started: {error.strerror}") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            fatal = next((line for line in said if line.startswith("fatal: ")), f"git {arguments[0]} failed")
            raise GitError(_CREDENTIALS.sub("//***@", fatal.removeprefix("fatal: ")))
        return os.fsdecode(done.stdout).removesuffix("\n")

    def commit(self, name: str) -> str | None:
        """The full id of a commit that is here, None when it is not."""
        try:
            return self("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except GitError:
            return None


def find_base(git: Git, *, compare_to: str, environ: Mapping[str, str]) -> str:
    """The commit before the change: of the given name, the pull request, the push, or the default branch.

    :param compare_to: a branch or commit; empty takes what the event says.
    :raises NoBaseError: when there is none, or it cannot be had.
    """
    try:
        git("rev-parse", "--git-dir")
    except GitError as error:
        raise NoBaseError(f"the project is not in a git repository that can be read ({error}).") from None
    if git.commit("HEAD") is None:
        raise NoBaseError("the git repository has no commit yet.")
    if compare_to:
        return _merge_base(git, compare_to, of="compare-to")
    try:
        event = read_event(environ)
    except EventError as error:
        raise NoBaseError(str(error)) from None
    if parent := _merged_into(git, event, environ):
        _have(git, parent)
        return parent
    if event.base_sha:
        return _merge_base(git, event.base_sha, of="the event's base")
    if branch := environ.get("GITHUB_BASE_REF"):
        return _merge_base(git, branch, of="GITHUB_BASE_REF")
    if default := git.commit("refs/remotes/origin/HEAD"):
        return _merge_base(git, default, of="the default branch")
    raise NoBaseError(
        "this is no pull request, and origin/HEAD, the default branch, is not known here. Set compare-to, or run "
        "`git remote set-head origin --auto`."
    )


def _merged_into(git: Git, event: Event, environ: Mapping[str, str]) -> str | None:
    """The first parent, if HEAD is the merge commit that GitHub made of a pull request.

    It is the exact base: the branch may have moved since the event. A shallow checkout hides the parents of its
    last commit, but not from the commit's own text.
    """
    if event.pull_request is None:
        return None
    header = git("cat-file", "commit", "HEAD").partition("\n\n")[0]
    parents = [line.removeprefix("parent ") for line in header.splitlines() if line.startswith("parent ")]
    is_test_merge = environ.get("GITHUB_REF", "").endswith("/merge") and environ.get("GITHUB_SHA") == git.commit("HEAD")
    if len(parents) == 2 and (parents[1] == event.head_sha or is_test_merge):
        return parents[0]
    return None


def _have(git: Git, commit: str) -> None:
    """Fetch one commit without its history, if it is not here."""
    if git.commit(commit):
        return
    try:
        git("fetch", "--quiet", "--no-tags", "--depth=1", "origin", commit, timeout=_FETCH_SECONDS)
    except GitError as error:
        raise NoBaseError(_cannot_fetch(commit, error)) from None


def _merge_base(git: Git, name: str, *, of: str) -> str:
    if name.startswith("-"):
        raise NoBaseError(f"{of} is {name!r}, which is no name of a branch, tag or commit.")
    if base := _known_merge_base(git, name):
        return base
    shallow = git("rev-parse", "--is-shallow-repository") == "true"
    for depth in _DEPTHS if shallow else (None,):
        try:
            _fetch(git, name, depth=depth)
        except GitError as error:
            raise NoBaseError(_cannot_fetch(name, error)) from None
        if base := _known_merge_base(git, name):
            return base
    raise NoBaseError(
        f"{name} ({of}) and the checked out commit have no common ancestor"
        + (f" in their last {_DEPTHS[-1]:,} commits. Check out with fetch-depth: 0." if shallow else ".")
    )


def _known_merge_base(git: Git, name: str) -> str | None:
    for candidate in (name, f"refs/remotes/origin/{name}"):
        if commit := git.commit(candidate):
            with suppress(GitError):
                return git("merge-base", commit, "HEAD")
    return None


def _fetch(git: Git, name: str, *, depth: int | None) -> None:
    is_commit = re.fullmatch("[0-9a-f]{40}(?:[0-9a-f]{24})?", name)
    branch = name.removeprefix("origin/")
    wanted = [name if is_commit else f"+{branch}:refs/remotes/origin/{branch}"]
    if depth:
        # Both sides must grow until they meet.
        wanted.append(git("rev-parse", "HEAD"))
    options = [f"--depth={depth}"] if depth else []
    git("fetch", "--quiet", "--no-tags", *options, "origin", *wanted, timeout=_FETCH_SECONDS)


def _cannot_fetch(name: str, error: GitError) -> str:
    return (
        f"{name} is not in this checkout and could not be fetched ({error}). Check out with fetch-depth: 0, and with "
        "persist-credentials: true if the repository is private."
    )
