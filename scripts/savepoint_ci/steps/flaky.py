"""Search a suite for tests that are not stable: in other orders, alone, under load, at another time."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from dataclasses import replace
from pathlib import Path

from pytest_savepoint.errors import ExitCode

from savepoint_ci.invocation import Invocation
from savepoint_ci.rerun.changed import changed_tests
from savepoint_ci.rerun.laboratory import Laboratory
from savepoint_ci.rerun.prepare import command_arguments, prepared
from savepoint_ci.rerun.reran import Reran
from savepoint_ci.rerun.result import rewrite_findings, verdicts_of
from savepoint_ci.rerun.search import Search
from savepoint_ci.rerun.statistics import undetected_rate
from savepoint_ci.state import Tested
from savepoint_ci.steps.install import callers_python
from savepoint_ci.steps.provision import wait_for_server
from savepoint_ci.steps.run import run_steps
from savepoint_ci.steps.test import refuse_nothing, show_output

__all__ = ["flaky"]

_REPORTING = 4.0
_SEEDS = 100_000


def flaky(invocation: Invocation) -> ExitCode:
    """Provision, install and migrate as `run` does, then search until the budget is spent or enough was seen."""
    deadline = time.monotonic() + invocation.budget - _REPORTING
    values = {**invocation.settings.values, "coverage": False, "comment": False}
    lean = replace(invocation, settings=replace(invocation.settings, values=values))
    return run_steps(lean, ("search", lambda each: _search(each, deadline)))


def _search(invocation: Invocation, deadline: float) -> ExitCode:
    provisioned = wait_for_server(invocation)
    python = callers_python(invocation)
    start = time.monotonic()
    with prepared(invocation, python=python, server_url=provisioned.url) as laboratory:
        laboratory.deadline = deadline
        search = Search(laboratory, command_arguments(invocation, python))
        search.suite(
            seed=secrets.randbelow(_SEEDS),
            load=2 * (os.cpu_count() or 1),
            first=lambda tests: changed_tests(invocation, tests),
            started=lambda: _keep(invocation, laboratory),
        )
    tested = invocation.state.load(Tested)
    assert tested is not None
    if search.plain is None or not search.plain.tests:
        show_output(invocation, Path(tested.log))
        refuse_nothing(tested, invocation)
    rewrite_findings(Path(tested.evidence), search)
    invocation.display.say(f"savepoint: {_scope(search)}")
    invocation.state.save(
        Reran(
            seconds=time.monotonic() - start - tested.seconds,
            verdicts=tuple(verdicts_of(search)),
            searched=True,
            warnings=_warnings(laboratory),
        )
    )
    if laboratory.interrupted:
        invocation.state.save(replace(tested, interrupted=True))
        return ExitCode.INTERRUPTED
    return ExitCode.TESTS_FAILED if search.judged else ExitCode.GREEN


def _keep(invocation: Invocation, laboratory: Laboratory) -> None:
    """Make the run in file order the one that the report is about."""
    evidence, log = invocation.state.folder / "evidence.jsonl", invocation.report_folder / "pytest.log"
    evidence.unlink(missing_ok=True)
    if laboratory.evidence.exists():
        shutil.copyfile(laboratory.evidence, evidence)
    shutil.copyfile(laboratory.log, log)
    plain = laboratory.runs[0] if laboratory.runs else None
    invocation.state.save(
        Tested(
            started=time.time() - (plain.seconds if plain else 0.0),
            seconds=plain.seconds if plain else 0.0,
            pytest_exit=plain.code if plain else -9,
            evidence=str(evidence),
            log=str(log),
            interrupted=laboratory.interrupted,
        )
    )


def _scope(search: Search) -> str:
    """How much was seen, as a sentence."""
    runs = len(search.laboratory.runs)
    if search.judged:
        how = f"after {search.quiet} runs that brought nothing new" if search.complete else "with its budget"
        return f"{len(search.judged)} of {len(search.plain.tests if search.plain else ())} tests are not stable, by {runs} runs; the search ended {how}"
    rate = undetected_rate(search.quiet)
    return (
        f"no test failed in {runs} runs in other orders, seeds, zones, times and under load; one that fails in more than "
        f"{rate:.0%} of such runs would have been seen with 95 % probability"
    )


def _warnings(laboratory: Laboratory) -> tuple[str, ...]:
    if not laboratory.same_database:
        return ()
    warning = (
        f"All runs used the same database, because no copies of it could be made: {laboratory.same_database}. "
        "A test that fails because an earlier run left something there counts as not stable."
    )
    return (warning,)
