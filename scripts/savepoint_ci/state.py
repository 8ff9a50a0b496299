"""What one step leaves for the next: a private folder with one small file per fact.

One file per fact, because provisioning goes on in the background while another step writes its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Configured", "Fact", "Failed", "Installed", "Migrated", "Provisioned", "Started", "State", "Tested", "remove_abandoned"]


class Fact:
    """What one step leaves for the next, a dataclass; each step reads some, so that this is to be loaded quickly."""

    def encode(self) -> bytes:
        """The fact as JSON."""
        return json.dumps(asdict(self)).encode()  # type: ignore[call-overload] # every kind is a dataclass

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The fact that was encoded."""
        return cls(**{name: tuple(each) if isinstance(each, list) else each for name, each in json.loads(data).items()})


@dataclass(frozen=True, kw_only=True)
class Configured(Fact):
    """The settings of a job as variables, so that its later steps need not be given them again, and the tool's Python."""

    variables: dict[str, str]
    tool: str


@dataclass(frozen=True, kw_only=True)
class Started(Fact):
    """The process that starts and holds the server; `created` tells it from a later one with the same number."""

    pid: int
    created: float


@dataclass(frozen=True, kw_only=True)
class Failed(Fact):
    """The first step that could not do its work, and what it said."""

    step: str
    message: str
    interrupted: bool = False


@dataclass(frozen=True, kw_only=True)
class Provisioned(Fact):
    """The server of this run, all empty when none is needed; `url` carries the password."""

    seconds: float
    provider: str = ""
    reason: str = ""
    version: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Installed(Fact):
    """The interpreter of the caller's environment."""

    seconds: float
    python: str


@dataclass(frozen=True, kw_only=True)
class Migrated(Fact):
    """The template as it was when the migrate step had finished."""

    seconds: float
    template: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tested(Fact):
    """How pytest ended (negative: by that signal; None: not yet) and where its evidence and its output are."""

    started: float
    seconds: float = 0.0
    pytest_exit: int | None = None
    evidence: str
    log: str
    interrupted: bool = False
    warnings: tuple[str, ...] = ()


AnyFact = TypeVar("AnyFact", bound=Fact)


class State:
    """The folder of one run's facts; only its owner can read it, because the server's password is in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder

    @classmethod
    def of_project(cls, project: Path, *, environ: Mapping[str, str], cache: Path) -> State:
        """The state that the single steps of one job share.

        :param environ: `SAVEPOINT_STATE` names the folder, else it is in `RUNNER_TEMP`, else in the cache.
        """
        if given := environ.get("SAVEPOINT_STATE"):
            return cls(Path(given))
        if runner_temp := environ.get("RUNNER_TEMP"):
            return cls(Path(runner_temp) / "savepoint")
        import hashlib  # noqa: PLC0415 - the steps of a job are given a folder

        name = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
        return cls(cache / "state" / f"project-{name}")

    @classmethod
    def of_one_run(cls, *, environ: Mapping[str, str], cache: Path) -> State:
        """A state of its own, so that two runs of one project do not meet."""
        if given := environ.get("SAVEPOINT_STATE"):
            return cls(Path(given))
        import tempfile  # noqa: PLC0415 - the steps of a job start without it

        parent = cache / "state"
        parent.mkdir(parents=True, exist_ok=True)
        return cls(Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-", dir=parent)))

    def save(self, fact: Fact) -> None:
        """Write a fact, in one piece."""
        path = self._path(type(fact))
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_bytes(fact.encode())
        new.replace(path)

    def load(self, kind: type[AnyFact]) -> AnyFact | None:
        """The fact of this kind, None when no step wrote it."""
        try:
            return kind.decode(self._path(kind).read_bytes())
        except FileNotFoundError:
            return None

    def forget(self, kind: type[Fact]) -> None:
        """Remove the fact of this kind."""
        self._path(kind).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything, so that whoever waits for it sees all of it or nothing."""
        import shutil  # noqa: PLC0415 - only the last step needs it

        removed = self.folder.with_name(f"{self.folder.name}.removed")
        shutil.rmtree(removed, ignore_errors=True)
        with suppress(OSError):  # there is none, or a file of it is open on Windows
            self.folder.rename(removed)
        for each in (removed, self.folder):
            shutil.rmtree(each, ignore_errors=True)

    def _path(self, kind: type[Fact]) -> Path:
        return self.folder / f"{kind.__name__.lower()}.json"


def remove_abandoned(cache: Path) -> list[str]:
    """Remove the states of runs whose process is gone; return their names."""
    import shutil  # noqa: PLC0415 - the other steps start without these

    import psutil  # noqa: PLC0415

    removed = []
    for folder in sorted((cache / "state").glob("run-*")):
        pid = folder.name.split("-")[1]
        if not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return removed
