"""A stand-in for other people: a repository that uses our action under its public name, whose workflows act runs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).parent / "actions"
REPOSITORY = "octocat/Hello-World"
PULL_REQUEST = 7
LIMIT = 300


@dataclass(frozen=True)
class Job:
    """How a job under act ended, what it printed, and the artifacts that it kept."""

    exit: int
    log: str
    artifacts: Path

    def report(self, artifact: str) -> dict[str, Any]:
        return json.loads((self.artifacts / artifact / "report.json").read_text())

    def output(self, name: str) -> str:
        found = re.findall(rf"::set-output:: {name}=(.*)", self.log)
        assert found, f"no output {name} in:\n{self.log}"
        return found[-1]


@dataclass
class Caller:
    """A repository with one workflow, in a folder of its own, and an environment that is active."""

    folder: Path
    environ: dict[str, str]
    artifacts: Path = field(init=False)

    def __post_init__(self) -> None:
        self.artifacts = self.folder.parent / "artifacts"
        self._git("init", "--quiet", "--initial-branch", "main")
        self._git("remote", "add", "origin", f"https://github.com/{REPOSITORY}")

    def commit(self) -> str:
        self._git("add", "--all")
        self._git("-c", "user.name=O. Cat", "-c", "user.email=o@cat.example", "commit", "--quiet", "-m", "change")
        return self._git("rev-parse", "HEAD")

    def use(self, workflow: Path) -> None:
        """Copy a workflow file, as a person would."""
        target = self.folder / ".github" / "workflows" / workflow.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(workflow, target)

    def act(self, *arguments: str, base: str = "", event: dict[str, Any] | None = None) -> Job:
        """Commit everything and run the pull request's workflows to their end.

        :param base: the commit that the pull request is made against; empty takes the one before.
        :param event: another event, as GitHub describes it; its first key is its name.
        """
        process = self.start_act(*arguments, base=base, event=event)
        try:
            log, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            pytest.fail(f"act did not end within {LIMIT} s:\n{end(process, signal.SIGKILL)}")
        return Job(process.returncode, log, self.artifacts)

    def start_act(self, *arguments: str, base: str = "", event: dict[str, Any] | None = None) -> subprocess.Popen[str]:
        """The same, without waiting for the end."""
        head = self.commit()
        event = event or pull_request_event(base=base or head, head=head)
        file = self.folder.parent / "event.json"
        file.write_text(json.dumps(event))
        command = [
            "act", next(iter(event)), "--platform", "ubuntu-latest=-self-hosted", "--pull=false", "--action-offline-mode",
            "--action-cache-path", str(self.folder.parent / "act"), "--eventpath", str(file),
            *self._local_repositories(), *arguments,
        ]  # fmt: skip
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environ | {"STAND_IN_ARTIFACTS": str(self.artifacts)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _local_repositories(self) -> list[str]:
        """Our action under its public name, and a stand-in for each action that would come from the network."""
        given = []
        files = [
            *(self.folder / ".github" / "workflows").glob("*.yml"),
            *(ROOT / ".github" / "workflows").glob("*.yml"),
            ROOT / "action.yml",
        ]
        for uses in sorted({uses for file in files for uses in re.findall(r"uses: ([\w./-]+@\S+)", file.read_text())}):
            name, _, ref = uses.partition("@")
            owner, repository, *_ = name.split("/")
            folder = self.environ["STAND_IN_SAVEPOINT"] if owner == "savepoint-ci" else STAND_INS / repository
            given += ["--local-repository", f"{owner}/{repository}@{ref}={folder}"]
        return given

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()


def published(folder: Path) -> Path:
    """A copy of our repository as others get it; act reads the whole folder for every job, whatever lies around in it."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, target)
    return folder


def pull_request_event(*, base: str, head: str) -> dict[str, Any]:
    repository = {"full_name": REPOSITORY}
    return {
        "pull_request": {
            "number": PULL_REQUEST,
            "head": {"ref": "change", "sha": head, "repo": repository},
            "base": {"ref": "main", "sha": base, "repo": repository},
        }
    }


def end(process: subprocess.Popen[str], how: signal.Signals, *, also: Sequence[psutil.Process] = ()) -> str:
    """Interrupt act as a person does, or kill it with all that it runs, and return what was printed.

    :param also: what is killed too.
    """
    jobs = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    if how == signal.SIGKILL:
        for each in (*jobs, *also):
            with suppress(psutil.NoSuchProcess):
                each.kill()
    log, _ = process.communicate(timeout=LIMIT)
    return log
