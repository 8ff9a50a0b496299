"""Everything, one step after the other; whatever happens, the tests that ran are reported."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pytest_savepoint.databases.kept import give_back
from pytest_savepoint.errors import ExitCode
from pytest_savepoint.servers import Server

from savepoint_ci.invocation import Invocation, attempt
from savepoint_ci.steps.comment import comment
from savepoint_ci.steps.history import history
from savepoint_ci.steps.install import install
from savepoint_ci.steps.migrate import migrate
from savepoint_ci.steps.provision import start
from savepoint_ci.steps.report import report
from savepoint_ci.steps.test import test
from savepoint_ci.steps.verdict import verdict

__all__ = ["run", "run_steps"]

Step = tuple[str, Callable[[Invocation], ExitCode | None]]


def run(invocation: Invocation) -> ExitCode:
    """Provision while dependencies install, migrate, test, report, comment, and give back the server."""
    return run_steps(invocation, ("test", test))


def run_steps(invocation: Invocation, suite: Step) -> ExitCode:
    """Take all steps of a run, with this one in the place of the suite; whatever happens, it ends with a report."""
    try:
        with ThreadPoolExecutor(max_workers=1) as background:
            starting = background.submit(start, invocation)
            try:
                _take_steps(invocation, starting, suite)
                reported = attempt("report", report, invocation)
                attempt("comment", comment, invocation)
            finally:
                _stop(starting)
    finally:
        invocation.state.remove()
    return reported or verdict(invocation)


def _take_steps(invocation: Invocation, starting: Future[Server | None], suite: Step) -> None:
    def await_server(_: Invocation) -> None:
        if server := starting.result():
            invocation.display.say(f"savepoint: PostgreSQL {server.version} ({server.provider}: {server.reason})")

    steps: tuple[Step, ...] = (("install", install), ("provision", await_server), ("migrate", migrate), ("history", history), suite)
    for name, step in steps:
        with invocation.display.phase(name):
            code = attempt(name, step, invocation, show=False)  # the report ends with it
        if code is not ExitCode.GREEN:
            return


def _stop(starting: Future[Server | None]) -> None:
    if starting.exception() is None and (server := starting.result()):
        give_back(server)
