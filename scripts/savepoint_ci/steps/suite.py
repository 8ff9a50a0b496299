"""What a job does between its first step and its comment, in one process: each process that starts takes its time."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module

from pytest_savepoint.errors import ExitCode

from savepoint_ci.invocation import Invocation, attempt
from savepoint_ci.state import Fact, Installed, Migrated

__all__ = ["suite"]

_STEPS: tuple[tuple[str, type[Fact] | None], ...] = (("install", Installed), ("migrate", Migrated), ("test", None))
"""Each with what it leaves, where another step of the job may have taken it."""


def suite(invocation: Invocation) -> ExitCode:
    """Install and migrate, where this job has not done it yet, test, and report; the first that fails is the last of these.

    What is interrupted is left to the step that reports afterwards, because little time is left here.
    """
    # What installing starts is waited for; meanwhile the later steps are loaded.
    threading.Thread(target=_load, daemon=True).start()
    code = ExitCode.GREEN
    for name, left in _STEPS:
        if name == "migrate":
            _load_coverage(invocation)
        if left is not None and invocation.state.load(left) is not None:
            continue
        with invocation.display.phase(name):
            code = _take(name, invocation)
        if code is not ExitCode.GREEN:
            break
    if code is not ExitCode.INTERRUPTED:
        _take("report", invocation)
    return code


def _take(name: str, invocation: Invocation) -> ExitCode:
    return attempt(name, getattr(import_module(f"savepoint_ci.steps.{name}"), name), invocation)


def _load_coverage(invocation: Invocation) -> None:
    """Let the caller's coverage.py load beside the migrations: it is asked before the tests and after them."""
    from savepoint_ci.steps.install import callers_python  # noqa: PLC0415 - loaded beside the first step
    from savepoint_ci.suite.command import suite_environment  # noqa: PLC0415

    settings = invocation.settings
    if settings.coverage:
        python = callers_python(invocation)
        environ = suite_environment(invocation.environ, settings, python=python, server_url="")
        invocation.coverage.start(python, project=invocation.project, environ=environ)


def _load() -> None:
    for name in ("install", "migrate", "test", "report"):
        with suppress(Exception):  # the step itself says what is wrong
            import_module(f"savepoint_ci.steps.{name}")
