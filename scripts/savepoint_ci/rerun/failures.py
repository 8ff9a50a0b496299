"""After a suite: what failed is run again until it is known why, and what changed is repeated."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from savepoint_ci.history.keep import known_history
from savepoint_ci.history.model import recovered_tests
from savepoint_ci.invocation import Invocation
from savepoint_ci.rerun.changed import changed_tests
from savepoint_ci.rerun.laboratory import Laboratory
from savepoint_ci.rerun.prepare import command_arguments, prepared
from savepoint_ci.rerun.ran import read_run
from savepoint_ci.rerun.reran import Reran
from savepoint_ci.rerun.variation import FILE_ORDER
from savepoint_ci.state import Tested

__all__ = ["Again"]


class Again:
    """What is needed to run tests again after the suite, taken hold of before it.

    A copy of the database of a suite that keeps its own can only be made before that suite has changed it.
    """

    def __init__(self, invocation: Invocation, laboratory: Laboratory | None, python: Path) -> None:
        self._invocation = invocation
        self._laboratory = laboratory
        self._python = python

    @classmethod
    @contextmanager
    def ready(cls, invocation: Invocation, *, python: Path, server_url: str) -> Iterator[Again]:
        """Have everything at hand for the length of a block; nothing when `rerun-budget` is 0."""
        if not invocation.settings.rerun_budget:
            yield cls(invocation, None, python)
            return
        with prepared(invocation, python=python, server_url=server_url) as laboratory:
            yield cls(invocation, laboratory, python)

    def after(self, tested: Tested) -> None:
        """Run again within `rerun-budget`, and leave the verdicts and the findings for the report.

        Without copies of its database a suite that keeps its own is left alone: the second run would meet what the
        first one left, and prove nothing.
        """
        laboratory, evidence = self._laboratory, Path(tested.evidence)
        if laboratory is None or laboratory.same_database or not evidence.exists():
            return
        with evidence.open(encoding="utf-8", errors="replace") as lines:
            seen = read_run(lines, FILE_ORDER, seconds=tested.seconds, code=tested.pytest_exit)
        changed = changed_tests(self._invocation, seen.tests)
        history = known_history(self._invocation)
        recovered = [test for test in recovered_tests(history, seen.passed) if test not in changed] if history else []
        again = [*changed, *recovered]
        if not seen.failures and not again:
            return
        budget = float(self._invocation.settings.rerun_budget)
        repeated = "the tests that this change touches" if changed else "what failed the last time"
        what = "what failed" if seen.failures else repeated
        self._invocation.display.say(f"savepoint: running {what} again, for {budget:.0f} s at most")
        start = time.monotonic()
        laboratory.deadline = start + budget
        # A suite that is green and stable ends without them.
        from savepoint_ci.rerun.result import rewrite_findings, verdicts_of  # noqa: PLC0415
        from savepoint_ci.rerun.search import Search  # noqa: PLC0415

        laboratory.runs.append(seen)
        search = Search(laboratory, command_arguments(self._invocation, self._python))
        search.changed(seen, again, seed=secrets.randbelow(100_000), load=2 * (os.cpu_count() or 1))
        rewrite_findings(evidence, search)
        self._invocation.state.save(
            Reran(seconds=time.monotonic() - start, verdicts=tuple(verdicts_of(search)), searched=bool(changed))
        )
