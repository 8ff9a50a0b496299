"""Cut the suite into shards before any of them runs, so that all of them have the same cut."""

from __future__ import annotations

import json
import shlex
import sys

from savepoint_ci.github.runner_files import set_output
from savepoint_ci.history.keep import known_history
from savepoint_ci.invocation import Invocation
from savepoint_ci.shards.plan import PlanError, how_many, plan_json
from savepoint_ci.shards.share import PLAN_FILE, make_plan
from savepoint_ci.steps.install import callers_python
from savepoint_ci.suite.command import count_workers

__all__ = ["plan"]


def plan(invocation: Invocation) -> None:
    """Write plan.json into the report folder, and print the names of the shards as JSON.

    :raises PlanError: when pytest cannot collect, or there are no tests.
    """
    settings = invocation.settings
    history = known_history(invocation)
    durations = history.durations if history else {}
    workers = count_workers(settings, invocation.project)
    wanted = invocation.shards or how_many(durations, workers=workers, target=invocation.shard_seconds)
    arguments = [*shlex.split(settings.pytest_args), *invocation.pytest_arguments]
    made = make_plan(invocation, callers_python(invocation), wanted, arguments=arguments)
    tests = sum(map(len, made.shards))
    if not tests:
        raise PlanError(f"pytest found no tests in {invocation.project}, so there is nothing to cut into shards.")
    file = invocation.report_folder / PLAN_FILE
    file.write_bytes(plan_json(made))
    count = len(made.shards)
    numbers = range(1, count + 1)
    set_output(invocation.environ, "numbers", json.dumps([*numbers]))
    set_output(invocation.environ, "count", str(count))
    set_output(invocation.environ, "plan", str(file))
    longest = f"the longest about {max(made.seconds):.0f} s" if durations else "durations are not known yet"
    sys.stderr.write(f"savepoint: {tests:,} tests in {count} shards, {longest}; the plan is {file}\n")
    print(json.dumps([f"{number}/{count}" for number in numbers]))
