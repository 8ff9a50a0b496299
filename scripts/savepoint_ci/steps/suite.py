"""What a job does between its first step and its report, in one process: each process that starts takes its time."""

from __future__ import annotations

from pytest_savepoint.errors import ExitCode

from savepoint_ci.invocation import Invocation, attempt
from savepoint_ci.state import Installed, Migrated
from savepoint_ci.steps.install import install
from savepoint_ci.steps.migrate import migrate
from savepoint_ci.steps.test import test

__all__ = ["suite"]


def suite(invocation: Invocation) -> ExitCode:
    """Install and migrate, where this job has not done it yet, and test; the first of them that fails is the last."""
    steps = (("install", install, Installed), ("migrate", migrate, Migrated), ("test", test, None))
    for name, step, left in steps:
        if left is not None and invocation.state.load(left) is not None:
            continue
        with invocation.display.phase(name):
            code = attempt(name, step, invocation)
        if code is not ExitCode.GREEN:
            return code
    return ExitCode.GREEN
