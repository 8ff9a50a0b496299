"""How pytest is called: its arguments, and the environment in which tests run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_savepoint.settings import Settings

from savepoint_ci.suite.files import test_files

__all__ = ["MOST_WORKERS", "WITHHELD", "count_workers", "suite_command", "suite_environment"]

MOST_WORKERS = 16
WITHHELD = (
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_PATH",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
    "SAVEPOINT_GITHUB_TOKEN",
    "SAVEPOINT_STATE",
)
"""Variables with which the caller's code could reach the job, the token, or what later steps trust."""


def suite_command(python: Path, settings: Settings, project: Path, arguments: Sequence[str]) -> list[str]:
    """The command that runs the suite, measurement of coverage left out.

    :param arguments: what the caller wants pytest to be given.
    """
    workers = count_workers(settings, project)
    parallel = [f"--numprocesses={workers}"] if workers else []
    # Node ids and paths count from the project, also when pytest's configuration is in a folder above it.
    return [str(python), "-m", "pytest", f"--rootdir={project}", *parallel, *arguments]


def count_workers(settings: Settings, project: Path) -> int:
    """The number of xdist workers; 0 means none.

    With `auto` there is one per processor, at most 16 (each has a database), and never more than test functions; none
    where the suite's own fixtures are in charge, because they may be made for one process.
    """
    if settings.workers != "auto":
        return int(settings.workers)
    if settings.isolation == "none":
        return 0
    wanted = min(_processors(), MOST_WORKERS)
    found = _count_tests(project, enough=wanted)
    return found if found > 1 else 0


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count_tests(project: Path, *, enough: int) -> int:
    found = 0
    for path in test_files(project):
        found += path.read_bytes().count(b"def test")
        if found >= enough:
            return enough
    return found


def suite_environment(
    environ: Mapping[str, str], settings: Settings, *, python: Path, server_url: str
) -> dict[str, str]:
    """The environment of the caller's code: the caller's, our settings, and nothing with which tests could reach the job.

    :param server_url: the server that was provisioned, empty when there is none.
    """
    environment = {name: text for name, text in environ.items() if name not in WITHHELD}
    environment |= {name: text for name, text in settings.environment().items() if name not in WITHHELD}
    # The step that builds the template proves it, too.
    environment["SAVEPOINT_VERIFY_TEMPLATE"] = "false"
    if server_url:
        environment |= {"SAVEPOINT_SERVER_URL": server_url, "SAVEPOINT_PROVIDER": "url"}
    # Tests that call programs of their environment find them as if it were active.
    environment["PATH"] = os.pathsep.join(filter(None, (str(python.parent), environ.get("PATH"))))
    return environment
