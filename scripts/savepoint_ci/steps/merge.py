"""Make one report of those that the shards left, wherever they ran."""

from __future__ import annotations

import gc
import hashlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_savepoint.errors import ExitCode

from savepoint_ci.environment.choose import active_python, read_contents
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.model import ReportError, parse_report
from savepoint_ci.shards.merge import Part, merge_reports, newest_parts
from savepoint_ci.shards.plan import Plan, PlanError, parse_plan
from savepoint_ci.shards.share import PLAN_FILE
from savepoint_ci.state import Installed
from savepoint_ci.steps.report import NOTHING_MEASURED, deliver, with_history, with_limits
from savepoint_ci.suite.coverage import CollectedCoverage, collect_coverage

__all__ = ["merge"]


@dataclass(frozen=True)
class _Found:
    """What is in a folder that a shard left; a report that cannot be read is none, and `fault` says why."""

    folder: Path
    plan: Plan | None = None
    part: Part | None = None
    fault: str = ""


def merge(invocation: Invocation) -> ExitCode:
    """Write the report of all shards; the exit code is its verdict.

    A folder without a report is no fault: its shard died, and is named in the report.

    :raises PlanError: when no folder has a plan, or folders of different runs are mixed.
    """
    gc.disable()  # 100,000 tests are a million objects that all live to the end; looking for dead ones takes a third of the time
    plans_read: dict[bytes, Plan] = {}
    found = [_read(folder, plans_read) for folder in invocation.folders]
    plans = [each.plan for each in found if each.plan]
    if not plans:
        raise PlanError(
            f"There is no {PLAN_FILE} in {', '.join(map(str, invocation.folders))}, so nobody knows what was to run. "
            "Give merge the folder that `savepoint plan` wrote, and the report folder of each shard."
        )
    plan = max(plans, key=lambda plan: plan.attempt)
    parts = newest_parts((each.part for each in found if each.part), plan)
    folders = {
        each.part.number: each.folder for each in found if each.part and parts.get(each.part.number) is each.part
    }
    collected = _collect(invocation, folders)
    merged = merge_reports(
        parts,
        plan,
        settings=with_limits(invocation.settings, collected.fail_under),
        coverage=collected.coverage,
        warnings=(*(each.fault for each in found if each.fault), *collected.warnings),
    )
    merged = with_history(invocation, merged)
    deliver(invocation, merged)
    return merged.exit_code


def _read(folder: Path, plans_read: dict[bytes, Plan]) -> _Found:
    """What is in one folder.

    :param plans_read: a plan of many tests is large, and every shard may have left the same.
    """
    plan_file, report_file = folder / PLAN_FILE, folder / "report.json"
    plan = _plan_of(plan_file.read_bytes(), plans_read) if plan_file.is_file() else None
    if not report_file.is_file():
        return _Found(folder, plan)
    try:
        report = parse_report(report_file.read_bytes())
    except ReportError as error:
        return _Found(folder, plan, fault=f"{folder.name}: {error}")
    if report.shard is None:
        return _Found(folder, plan, fault=f"{folder.name}: report.json is not of a shard, and was left out.")
    return _Found(folder, plan, Part(report, plan))


def _plan_of(data: bytes, plans_read: dict[bytes, Plan]) -> Plan:
    name = hashlib.sha256(data).digest()
    if name not in plans_read:
        plans_read[name] = parse_plan(data)
    return plans_read[name]


def _collect(invocation: Invocation, folders: Mapping[int, Path]) -> CollectedCoverage:
    """Put what the shards measured side by side, and read it as if the workers of one run had left it."""
    target = invocation.report_folder / "coverage"
    sources = [(number, folder / "coverage") for number, folder in sorted(folders.items())]
    measured = [(number, source) for number, source in sources if (source / "data").is_file()]
    if not invocation.settings.coverage or not measured:
        return NOTHING_MEASURED
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copy(measured[0][1] / "coverage.toml", target)
    for number, source in measured:
        shutil.copy(source / "data", target / f"data.shard-{number}")
    python, folder = _python(invocation), invocation.report_folder
    return collect_coverage(
        invocation.coverage, invocation.settings, python, invocation.project, folder, environ=invocation.environ
    )


def _python(invocation: Invocation) -> Path:
    """An interpreter with coverage.py: the project's, where its plugins are, else our own."""
    if installed := invocation.state.load(Installed):
        return Path(installed.python)
    active = active_python(invocation.settings.python, invocation.environ)
    if active and "coverage" in read_contents(active[0], invocation.environ).installed:
        return active[0]
    return Path(sys.executable)
