"""The tests of a project, asked of pytest in the caller's environment without running any."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from pytest_savepoint.settings import Settings

from savepoint_ci.shards.plan import CollectedTest, Distribution, PlanError
from savepoint_ci.suite.command import suite_command, suite_environment

__all__ = ["Collection", "collect_tests"]

_TAIL = 40
_NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/collecting"
_DISTRIBUTIONS: Mapping[str, Distribution] = {
    "loadfile": "loadfile",
    "loadscope": "loadscope",
    "loadgroup": "loadgroup",
}


@dataclass(frozen=True)
class Collection:
    """The tests in pytest's order, and what has to stay together."""

    tests: tuple[CollectedTest, ...]
    distribution: Distribution


class _Answer(msgspec.Struct):
    distribution: str
    tests: list[tuple[str, str]]


def collect_tests(
    python: Path, settings: Settings, project: Path, *, environ: Mapping[str, str], arguments: Sequence[str]
) -> Collection:
    """Collect the tests that a run with these settings and arguments would run.

    A file that cannot be imported has no tests here; the run reports it.

    :param python: the interpreter of the caller's environment.
    :param arguments: for pytest, those of the setting pytest-args among them.
    :raises PlanError: when pytest does not start; the message has the end of its output.
    """
    environment = suite_environment(environ, settings, python=python, server_url="")
    for name in settings.database_url_env:
        environment.setdefault(name, _NOWHERE)  # an application that reads it when it is imported
    command = suite_command(python, settings, project, arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "collected.json")
        environment["SAVEPOINT_COLLECTED"] = str(file)
        done = subprocess.run(
            [*command, "--collect-only", "-q", "-p", "no:cacheprovider"], cwd=project, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if not file.exists():
            said = done.stdout.decode("utf-8", "replace").splitlines()[-_TAIL:]
            raise PlanError(
                f"pytest could not collect the tests of {project} (exit code {done.returncode}):\n" + "\n".join(said)
            )
        answer = msgspec.json.decode(file.read_bytes(), type=_Answer)
    return Collection(
        tests=tuple(CollectedTest(nodeid, group) for nodeid, group in answer.tests),
        distribution=_DISTRIBUTIONS.get(answer.distribution, "single"),
    )
