"""From what a search found to verdicts and findings of the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from pytest_savepoint.diagnosis import Finding, combined
from pytest_savepoint.diagnosis.comparison import Compared, explain
from pytest_savepoint.diagnosis.left import described

from savepoint_ci.report.model import Verdict
from savepoint_ci.rerun.judge import Judged, Kind
from savepoint_ci.rerun.search import Search
from savepoint_ci.rerun.statistics import rate_interval

__all__ = ["findings_of", "rewrite_findings", "verdicts_of"]

_LOOPS = {
    "session": "one loop that all tests and fixtures share",
    "function": "a loop of its own that its fixtures share",
    "": "others",
}
_OF_ONE_RUN = ('{"kind": "finding"', '{"kind": "facts"')


def rewrite_findings(evidence: Path, search: Search) -> None:
    """Put what all runs together show in place of what the one run of an evidence file showed."""
    if not evidence.exists():
        return
    with evidence.open(encoding="utf-8", errors="replace") as file:
        lines = [line for line in file if not line.startswith(_OF_ONE_RUN)]
    lines += [json.dumps({"kind": "finding", **finding.as_dict()}) + "\n" for finding in findings_of(search)]
    evidence.write_text("".join(lines), encoding="utf-8")


def findings_of(search: Search) -> list[Finding]:
    """What the plugin found in the telling runs, and what only the difference between two runs shows."""
    # A shifted clock differs from the database's; what a rule makes of that is nothing that the suite does.
    judged = [each for each in search.judged if not each.worst.clock]
    runs = [*search.telling, *(each.failing for each in judged if each.failing)]
    single = [_finding(line) for ran in runs for line in ran.findings]
    # What one run shows by itself is closer to the cause than what was left for the process.
    explained = {test for finding in single for test in finding.tests}
    compared = [finding for each in judged for finding in explain(_compared(each, named=each.nodeid in explained))]
    return combined([*single, *compared])


def _finding(line: dict[str, Any]) -> Finding:
    finding: Finding = msgspec.convert({name: value for name, value in line.items() if name != "kind"}, Finding)
    return finding


def _compared(judged: Judged, *, named: bool) -> Compared:
    return Compared(
        victim=judged.nodeid,
        polluters=judged.polluters,
        setters=judged.setters,
        left=() if named else judged.left,
        failing=judged.failing.facts if judged.failing else (),
        passing=judged.passing.facts if judged.passing else (),
    )


def verdicts_of(search: Search) -> Iterator[Verdict]:
    """A verdict for each test that was judged."""
    for judged in search.judged:
        runs = search.outcomes(judged)
        low, high = rate_interval(sum(runs), len(runs))
        yield Verdict(
            nodeid=judged.nodeid,
            verdict=judged.kind,
            runs=len(runs),
            failures=sum(runs),
            interval=(round(low * 100, 1), round(high * 100, 1)),
            polluter=judged.polluters[-1] if judged.polluters else None,
            setter=judged.setters[-1] if judged.setters else None,
            explanation=_explanation(judged, runs, low, high),
            command=judged.command,
            reproduced=judged.reproduced,
        )


def _explanation(judged: Judged, runs: Sequence[bool], low: float, high: float) -> str:
    share = f"{sum(runs)} of {len(runs)} runs"
    rate = f"a rate between {low:.0%} and {high:.0%}"
    after = _names(judged.polluters)
    texts: dict[Kind, str] = {
        "broken": f"It fails alone, in file order and every time: {share}.",
        "flaky": f"It failed in {share}, and nothing was found that it depends on: {rate}.",
        "order-dependent": f"It passes alone, and fails after {after} in the same process.",
        "database-state": f"It passes alone, and fails after {after}, which commits to a table that it uses.",
        "loop-dependent": "It fails on the event loops that the project gives it, and passes on "
        f"{_LOOPS[judged.passing.variation.loops if judged.passing else '']}.",
        "time": f"It passes in this machine's time zone, and fails in {judged.worst.zone}."
        if not judged.worst.clock
        else f"It passes on a calm day, and fails when its code sees the clock pass {judged.worst.clock} ({judged.worst.name}).",
        "resource": "It passes on a calm machine, and fails while other processes keep the processors busy.",
        "undecided": f"It failed in {share}; the budget ended before it was known what that depends on.",
    }
    if judged.worst.parallel:
        return f"It passes alone and in one process, and failed while several workers ran: {share}."
    left = f" What decides is {' and '.join(map(described, judged.left))}." if judged.left else ""
    if judged.setters:
        return f"It passes only after {_names(judged.setters)}, and fails alone.{left}"
    return texts[judged.kind] + left


def _names(tests: Sequence[str]) -> str:
    return " and ".join(tests)
