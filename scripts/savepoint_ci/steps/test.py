"""Run the suite, show how far it is, and keep what it said."""

from __future__ import annotations

import re
import secrets
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from pytest_savepoint.errors import ExitCode, SavepointError, ServerError
from pytest_savepoint.secret import Secret

from savepoint_ci.invocation import Invocation
from savepoint_ci.report.text import clean_block
from savepoint_ci.rerun.failures import Again
from savepoint_ci.rerun.reran import Reran
from savepoint_ci.shards.share import select
from savepoint_ci.state import Failed, Provisioned, Tested
from savepoint_ci.steps.install import callers_python
from savepoint_ci.steps.provision import wait_for_server
from savepoint_ci.suite.command import suite_command, suite_environment
from savepoint_ci.suite.coverage import plan_coverage
from savepoint_ci.suite.new_revisions import new_revisions
from savepoint_ci.suite.process import Wish, run_suite
from savepoint_ci.suite.stall import Stall
from savepoint_ci.suite.tally import Tally

__all__ = ["SuiteError", "refuse_nothing", "show_output", "test"]

_PYTEST_USAGE = 4
_PYTEST_NO_TESTS = 5
_FAILURES = re.compile(r"^=+ (?:ERRORS|FAILURES) =+$", re.MULTILINE)
_LOG_TAIL = 40


class SuiteError(SavepointError):
    """pytest did not run any test."""


def test(invocation: Invocation) -> ExitCode:
    """Run the suite to its end and return what pytest's end means.

    :raises SuiteError: when pytest refused its arguments or found no tests.
    :raises ServerError: when tests failed and the server is gone.
    """
    provisioned = wait_for_server(invocation)
    invocation.state.forget(Reran)
    with Again.ready(invocation, python=callers_python(invocation), server_url=provisioned.url) as again:
        tested = _run(invocation, provisioned)
        code = _meaning(invocation, provisioned, tested)
        if code is not ExitCode.INTERRUPTED:
            again.after(tested)
    return code


def _meaning(invocation: Invocation, provisioned: Provisioned, tested: Tested) -> ExitCode:
    if tested.pytest_exit:
        show_output(invocation, Path(tested.log))
    if tested.interrupted:
        return ExitCode.INTERRUPTED
    refuse_nothing(tested, invocation)
    if tested.pytest_exit and provisioned.url and not _answers(provisioned.url):
        message = (
            f"The PostgreSQL server ({provisioned.provider}) stopped answering while the suite ran.\n"
            "Something ended it: look for a kill for lack of memory, or for another program that stops servers."
        )
        invocation.state.save(Failed(step="server", message=message))
        raise ServerError(message)
    return ExitCode.TESTS_FAILED if tested.pytest_exit else ExitCode.GREEN


test.__test__ = False  # type: ignore[attr-defined] # a verb, whatever pytest makes of the name


def _run(invocation: Invocation, provisioned: Provisioned) -> Tested:
    settings, display = invocation.settings, invocation.display
    python = callers_python(invocation)
    evidence = invocation.state.folder / "evidence.jsonl"
    evidence.unlink(missing_ok=True)
    log = invocation.report_folder / "pytest.log"
    arguments = [*shlex.split(settings.pytest_args), *invocation.pytest_arguments]
    command = suite_command(python, settings, invocation.project, arguments)
    environment = suite_environment(invocation.environ, settings, python=python, server_url=provisioned.url)
    environment["SAVEPOINT_EVIDENCE"] = str(evidence)
    environment |= select(invocation, python, arguments)
    environment |= new_revisions(settings, invocation.project, environ=invocation.environ)
    warnings: tuple[str, ...] = ()
    if settings.coverage:
        plan = plan_coverage(
            invocation.coverage, python, invocation.project, invocation.report_folder, environ=environment, pytest_arguments=arguments
        )
        command += plan.arguments
        environment |= plan.environment
        warnings = plan.warnings
    tally = Tally(evidence)

    stall = Stall(tally, evidence, limit=float(settings.stall_timeout))

    def tick() -> Wish:
        tally.update()
        display.tests(tally)
        return stall.wish()

    tested = Tested(started=time.time(), evidence=str(evidence), log=str(log), warnings=warnings)
    # Kept before it starts, so that a later report finds what ran even when this process is killed.
    invocation.state.save(tested)
    start = time.monotonic()
    ended = run_suite(command, project=invocation.project, environment=environment, log=log, tick=tick)
    # Somebody may have asked for more shards than there are tests.
    code = 0 if settings.shard and ended.exit == _PYTEST_NO_TESTS else ended.exit
    if stall.happened:
        code = stall.code
        with evidence.open("a", encoding="utf-8") as file:
            file.writelines(stall.evidence())
    tested = replace(tested, seconds=time.monotonic() - start, pytest_exit=code, interrupted=ended.interrupted)
    tested = replace(tested, warnings=(*warnings, *_dump_kept(invocation, provisioned, evidence)))
    invocation.state.save(tested)
    return tested


def _dump_kept(invocation: Invocation, provisioned: Provisioned, evidence: Path) -> Iterator[str]:
    """Put what the databases of failed tests hold into the report folder; what could not be done is said."""
    if invocation.settings.dump_kept and provisioned.url and evidence.exists():
        from pytest_savepoint.servers.given import parse_server_url  # noqa: PLC0415 - rarely needed, and slow to load

        from savepoint_ci.suite.dumps import write_dumps  # noqa: PLC0415

        with evidence.open(encoding="utf-8", errors="replace") as lines:
            yield from write_dumps(
                lines,
                parse_server_url(Secret(provisioned.url)),
                invocation.report_folder / "kept",
                version=provisioned.version,
                most=invocation.settings.dump_kept,
            )


def refuse_nothing(tested: Tested, invocation: Invocation) -> None:
    """Say what kept pytest from running a single test.

    :raises SuiteError: when pytest refused its arguments or found no tests.
    :raises ServerError: when there was no database.
    """
    if tested.pytest_exit == _PYTEST_NO_TESTS:
        raise SuiteError(
            f"pytest found no tests in {invocation.project}.\n"
            "Give the folder of the project, or check testpaths and what was selected with -k, -m or a path."
        )
    if tested.pytest_exit == _PYTEST_USAGE:
        raise SuiteError(
            "pytest refused to start; what it said is above.\n"
            "Look at pytest-args, at the arguments after --, and at pytest's own configuration."
        )
    if Path(tested.evidence).exists():
        return
    if tested.pytest_exit == ExitCode.DATABASE:
        raise ServerError("The suite did not start, because its databases could not be made; the reason is above.")
    if tested.pytest_exit == 0:
        raise SuiteError(
            "pytest ran without the plugin pytest-savepoint, so nothing is known about the tests.\n"
            "Remove `-p no:savepoint` and PYTEST_DISABLE_PLUGIN_AUTOLOAD, or add `-p pytest_savepoint.plugin`."
        )
    raise SuiteError("pytest ended before it had started a test session; what it said is above.")


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or 5432), timeout=5).close()
    except OSError:
        return False
    return True


def show_output(invocation: Invocation, log: Path) -> None:
    """The failures as pytest printed them, or the end of its output when it never came to that."""
    text = clean_block(log.read_text("utf-8", "replace"))
    found = _FAILURES.search(text)
    shown = text[found.start() :] if found else "\n".join(text.splitlines()[-_LOG_TAIL:])
    with _commands_stopped(invocation):
        invocation.display.say(shown.rstrip())


@contextmanager
def _commands_stopped(invocation: Invocation) -> Iterator[None]:
    """On a runner a line of a test's output could be a command to it; until the token, none is."""
    if invocation.environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = secrets.token_hex(16)
    invocation.display.say(f"::stop-commands::{token}")
    try:
        yield
    finally:
        invocation.display.say(f"::{token}::")
