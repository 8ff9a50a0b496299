"""Everything that reruns need, made from one call of the tool."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pytest_savepoint.settings import SETTINGS, Settings

from savepoint_ci.invocation import Invocation
from savepoint_ci.report.text import clean_line
from savepoint_ci.rerun.laboratory import Laboratory
from savepoint_ci.rerun.ran import Ran
from savepoint_ci.suite.addopts import always_given
from savepoint_ci.suite.command import count_workers, suite_command, suite_environment

__all__ = ["command_arguments", "prepared"]

_NOTHING_KEPT = {"keep_failed": False, "dump_kept": 0}
"""A rerun compares what tests do; what it leaves behind is for nobody to look at."""


@contextmanager
def prepared(invocation: Invocation, *, python: Path, server_url: str) -> Iterator[Laboratory]:
    """A laboratory whose runs have the caller's arguments, one process, and a fresh database each.

    :param python: the interpreter of the caller's environment.
    :param server_url: the server that was provisioned, empty when the suite keeps its own database.
    """
    settings = replace(invocation.settings, values={**invocation.settings.values, "workers": "0", **_NOTHING_KEPT})
    arguments = [*shlex.split(settings.pytest_args), *invocation.pytest_arguments]
    command = suite_command(python, settings, invocation.project, arguments)
    environment = suite_environment(invocation.environ, settings, python=python, server_url=server_url)
    # Compiled once for all runs, also where the environment keeps no compiled files: that is most of a short run.
    if environment.pop("PYTHONDONTWRITEBYTECODE", None) or not os.access(python.parent.parent, os.W_OK):
        environment["PYTHONPYCACHEPREFIX"] = str(invocation.cache / "compiled")
    given = _is_parallel([*always_given(invocation.project, environment), *arguments])
    workers = count_workers(invocation.settings, invocation.project)
    parallel = [f"--numprocesses={workers}"] if workers else []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="savepoint-")))
        laboratory = Laboratory(
            command=command, single=["--numprocesses=0"] if given else [],
            parallel=parallel if workers or given else None, project=invocation.project, environment=environment, scratch=scratch,
            say=lambda ran: invocation.display.say(_line(ran)),
        )  # fmt: skip
        if settings.isolation == "none":
            from savepoint_ci.rerun.databases import FreshDatabases, fresh_databases  # noqa: PLC0415 - slow to load

            copies = stack.enter_context(fresh_databases(settings, environment, cache=invocation.cache))
            if isinstance(copies, FreshDatabases):
                laboratory.databases = copies
            else:
                laboratory.same_database = copies
        yield laboratory


def command_arguments(invocation: Invocation, python: Path) -> list[str]:
    """What pytest needs besides node ids in a command for people: their own options, and what keeps the order.

    :param python: the interpreter of the caller's environment, which says what plugins there are.
    """
    settings, project = invocation.settings, invocation.project
    given = [*shlex.split(settings.pytest_args), *invocation.pytest_arguments]
    own = [word for word in given if not (project / word.partition("::")[0]).exists()]
    always = [*always_given(project, invocation.environ), *own]
    arguments = []
    if _has_randomly(python) and "no:randomly" not in always and "-pno:randomly" not in always:
        arguments += ["-p", "no:randomly"]
    return [*arguments, *_flags(settings), *own]


def _has_randomly(python: Path) -> bool:
    return any(python.parent.parent.glob("[Ll]ib/**/site-packages/pytest_randomly"))


def _is_parallel(words: Sequence[str]) -> bool:
    return any(word.startswith(("-n", "--numprocesses")) for word in words)


def _flags(settings: Settings) -> Iterator[str]:
    """The settings that this call was given as flags, as plain pytest takes them."""
    for setting in SETTINGS:
        is_given = settings.sources[setting.name].startswith("--") and setting.name not in _NOTHING_KEPT
        if not setting.plugin or setting.secret or not is_given:
            continue
        value = settings.values[setting.name]
        if not isinstance(value, bool):
            yield f"--savepoint-{setting.kebab}={value}"
        elif value:
            yield f"--savepoint-{setting.kebab}"


def _line(ran: Ran) -> str:
    failed = [clean_line(nodeid) for nodeid in (*ran.failures, *ran.stuck)]
    what = f"{len(failed)} of {len(ran.tests)} failed: {', '.join(failed[:3])}" if failed else f"{len(ran.tests)} passed"
    return f"  {ran.variation.name} ({ran.seconds:.1f} s): {what}"
