"""The part of the suite that this run is to run: the plan, and the file by which pytest hears of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from savepoint_ci.history.keep import known_history
from savepoint_ci.history.model import file_order
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.model import Shard
from savepoint_ci.shards.collect import collect_tests
from savepoint_ci.shards.plan import Plan, PlanError, cut, parse_plan, plan_json

__all__ = ["PLAN_FILE", "attempt", "make_plan", "select", "shard_of_run"]

PLAN_FILE = "plan.json"


def make_plan(
    invocation: Invocation, python: Path, shards: int, *, arguments: Sequence[str], by_names: bool = False
) -> Plan:
    """Collect the tests and cut them by what the history knows of their durations.

    :param arguments: for pytest, those of the setting pytest-args among them.
    :param by_names: leave the history out: machines that cut for themselves may have different ones, and one machine that
        runs all shards gets another with each.
    :raises PlanError: when pytest cannot collect.
    """
    history = None if by_names else known_history(invocation)
    collection = collect_tests(
        python, invocation.settings, invocation.project, environ=invocation.environ, arguments=arguments
    )
    durations = history.durations if history else {}
    return cut(
        collection.tests,
        durations,
        shards,
        distribution=collection.distribution,
        first=file_order(durations),
        attempt=attempt(invocation),
    )


def select(invocation: Invocation, python: Path, arguments: Sequence[str]) -> dict[str, str]:
    """The variables by which pytest runs this run's share, files with long tests first; empty to run all as collected.

    :raises PlanError: when the plan cannot be read, or has another number of shards.
    """
    if invocation.settings.shard:
        plan = _plan(invocation, python, arguments)
        number: int | None = int(invocation.settings.shard.partition("/")[0])
        shards, first = plan.shards, plan.first
    else:
        history = known_history(invocation)
        number, shards, first = None, (), tuple(file_order(history.durations)) if history else ()
    if number is None and not first:
        return {}
    file = invocation.state.folder / "selection.json"
    project = str(invocation.project.resolve())
    file.write_text(json.dumps({"project": project, "shard": number, "shards": shards, "first": first}), "utf-8")
    return {"SAVEPOINT_SELECTION": str(file)}


def shard_of_run(invocation: Invocation) -> Shard | None:
    """Which shard this run was, None when it ran everything."""
    if not invocation.settings.shard:
        return None
    try:
        digest = parse_plan(_plan_file(invocation).read_bytes()).digest
    except (OSError, PlanError):
        digest = ""
    return Shard(name=invocation.settings.shard, attempt=attempt(invocation), plan=digest)


def attempt(invocation: Invocation) -> int:
    """The attempt of the workflow run, counted from 1."""
    text = invocation.environ.get("GITHUB_RUN_ATTEMPT", "")
    return int(text) if text.isdecimal() and 0 < int(text) <= 10_000 else 1


def _plan(invocation: Invocation, python: Path, arguments: Sequence[str]) -> Plan:
    count = int(invocation.settings.shard.partition("/")[2])
    file = _plan_file(invocation)
    if not invocation.settings.plan:
        plan = _of_length(make_plan(invocation, python, count, arguments=arguments, by_names=True), count)
        file.write_bytes(plan_json(plan))
        return plan
    try:
        plan = parse_plan(file.read_bytes())
    except OSError as error:
        raise PlanError(f"The plan {file} cannot be read: {error.strerror}. Make it with `savepoint plan`.") from None
    if len(plan.shards) != count:
        raise PlanError(
            f"shard is {invocation.settings.shard}, but {file} has {len(plan.shards)} shards. "
            "Take the shards that `savepoint plan` printed, or make a plan for another number."
        )
    return plan


def _plan_file(invocation: Invocation) -> Path:
    """The plan that was given, else the one that goes into the report folder, for merge to find."""
    given = invocation.settings.plan
    return invocation.project / given if given else invocation.report_folder / PLAN_FILE


def _of_length(plan: Plan, count: int) -> Plan:
    """A plan has no empty shards; by hand somebody may have started more machines than there are tests."""
    empty: tuple[tuple[str, ...], ...] = ((),) * (count - len(plan.shards))
    return Plan(shards=plan.shards + empty, seconds=plan.seconds, first=plan.first, attempt=plan.attempt)
