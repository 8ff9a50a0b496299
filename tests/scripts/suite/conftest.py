"""Small real git repositories."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_SAFE = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsync", "GIT_CONFIG_VALUE_0": "none",
}  # fmt: skip


@dataclass
class Repository:
    folder: Path
    home: Path

    @property
    def environ(self) -> dict[str, str]:
        return {**_SAFE, "HOME": str(self.home)}

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "change") -> str:
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "origin"
    folder.mkdir()
    made = Repository(folder, home=tmp_path)
    made.git("init", "--quiet", "--initial-branch=main")
    return made


@pytest.fixture
def checkout(repository, tmp_path):
    """What actions/checkout makes: one commit of `repository` at the given depth, detached, without branches."""

    def make(ref: str, depth: int | None = 1) -> Repository:
        folder = tmp_path / "checkout"
        folder.mkdir()
        made = Repository(folder, home=tmp_path)
        made.git("init", "--quiet")
        made.git("remote", "add", "origin", f"file://{repository.folder}")
        deep = [f"--depth={depth}"] if depth else []
        made.git("fetch", "--quiet", "--no-tags", *deep, "origin", f"+{ref}:refs/remotes/pull/1")
        made.git("checkout", "--quiet", "--detach", "refs/remotes/pull/1")
        return made

    return make


@pytest.fixture
def pull_request_environ(tmp_path):
    """The runner's variables for a pull request from commit `head` to commit `base`."""

    def make(*, base: str, head: str, sha: str, ref: str = "refs/pull/1/merge") -> dict[str, str]:
        event = tmp_path / "event.json"
        side = {"repo": {"full_name": "o/r"}}
        pull_request = {"number": 1, "head": {"sha": head, **side}, "base": {"sha": base, "ref": "main", **side}}
        event.write_text(json.dumps({"pull_request": pull_request}))
        return {
            **_SAFE, "HOME": str(tmp_path), "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": sha, "GITHUB_REF": ref,
            "GITHUB_BASE_REF": "main",
        }  # fmt: skip

    return make
