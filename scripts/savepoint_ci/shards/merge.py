"""The reports of all shards -> the report of the suite; a shard without a report is named, and its tests did not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import msgspec
from msgspec.structs import replace
from pytest_savepoint.settings import Settings

from savepoint_ci.report.build import decide_gates
from savepoint_ci.report.model import (
    Count,
    Coverage,
    Database,
    Failure,
    Finding,
    Gate,
    Report,
    Result,
    Run,
    Shard,
    ShardResult,
    Silenced,
    TestResult,
)
from savepoint_ci.shards.plan import Plan, PlanError

__all__ = ["Part", "merge_reports", "newest_parts"]

_MOST_WARNINGS = 1_000
_MOST_TESTS_OF_A_FINDING = 100_000
_WORST_FIRST: Sequence[Result] = ("interrupted", "database", "error", "tests-failed", "gate")
_BEST_FIRST = ("not_run", "skipped", "xfailed", "xpassed", "passed", "failed", "error")


@dataclass(frozen=True)
class Part:
    """The report of one shard, with the plan that it was cut by when that is beside it."""

    report: Report
    plan: Plan | None = None

    @property
    def shard(self) -> Shard:
        assert self.report.shard is not None, "a part is made of a shard's report"
        return self.report.shard

    @property
    def number(self) -> int:
        return int(self.shard.name.partition("/")[0])


def newest_parts(parts: Iterable[Part], plan: Plan) -> dict[int, Part]:
    """The newest report of each shard, by its number.

    What was reported before the plan was made again says nothing: all jobs were run again, and one of them may be lost.

    :raises PlanError: when a report is of another number of shards.
    """
    newest: dict[int, Part] = {}
    for part in parts:
        if part.shard.name != f"{part.number}/{len(plan.shards)}":
            raise PlanError(
                f"A report is of shard {part.shard.name}, but the plan has {len(plan.shards)} shards. "
                "Give merge the folders of one run only."
            )
        held = newest.get(part.number)
        if part.shard.attempt >= plan.attempt and (held is None or _age(part) > _age(held)):
            newest[part.number] = part
    return newest


def _age(part: Part) -> tuple[int, str]:
    return part.shard.attempt, part.report.run.started


def merge_reports(
    parts: Mapping[int, Part],
    plan: Plan,
    *,
    settings: Settings,
    coverage: Coverage | None = None,
    warnings: Iterable[str] = (),
) -> Report:
    """Make one report of the newest report of each shard.

    :param parts: by the number of the shard; one that is missing is lost.
    :param plan: which tests each shard was to run.
    :param settings: for the gates.
    :param coverage: of all shards together.
    """
    merging = _Merging(parts, plan)
    tests = merging.tests()
    gates, gate_warnings = decide_gates(settings, coverage)
    reports = merging.reports
    return Report(
        result=merging.result(gates),
        counts=_counts(tests, reports),
        run=_run(reports),
        tests=tests,
        findings=_findings(finding for report in reports for finding in report.findings),
        silenced=_silenced(reports),
        verdicts=tuple(verdict for report in reports for verdict in report.verdicts),
        coverage=coverage,
        database=_database(reports),
        migrations=tuple(each for report in reports for each in report.migrations)[:_MOST_WARNINGS],
        timing=_longest(report.timing for report in reports),
        gates=(*gates, *(gate for report in reports for gate in report.gates)),
        failure=merging.failure(),
        warnings=(*merging.told(), *warnings, *gate_warnings, *merging.warnings())[:_MOST_WARNINGS],
        shards=tuple(merging.shard(number) for number in range(1, len(plan.shards) + 1)),
    )


@dataclass
class _Merging:
    parts: Mapping[int, Part]
    plan: Plan
    reports: list[Report] = field(init=False)
    lost: list[int] = field(init=False)
    left_out: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.reports = [self.parts[number].report for number in sorted(self.parts)]
        self.lost = [number for number in range(1, len(self.plan.shards) + 1) if number not in self.parts]
        self.left_out = self._left_out()

    def _left_out(self) -> list[str]:
        """Tests that no shard was to run, because shards were cut differently."""
        plans = {part.shard.plan: part.plan for part in self.parts.values() if part.plan}
        if set(plans) <= {self.plan.digest}:
            return []
        given = {nodeid for part in self.parts.values() for nodeid in (part.plan or self.plan).shards[part.number - 1]}
        given.update(nodeid for number in self.lost for nodeid in self.plan.shards[number - 1])
        known = dict.fromkeys(
            nodeid for plan in (self.plan, *plans.values()) if plan for nodeids in plan.shards for nodeid in nodeids
        )
        return [nodeid for nodeid in known if nodeid not in given]

    def name(self, number: int) -> str:
        return f"{number}/{len(self.plan.shards)}"

    def tests(self) -> tuple[TestResult, ...]:
        found: dict[str, TestResult] = {}
        for number, part in sorted(self.parts.items()):
            for test in part.report.tests:
                held = found.get(test.nodeid)
                # Only shards that were cut differently run a test twice; the worse outcome counts.
                if held is None or _BEST_FIRST.index(test.outcome) > _BEST_FIRST.index(held.outcome):
                    found[test.nodeid] = replace(test, worker=f"{self.name(number)} {test.worker}"[:4_096])
        for nodeid in [*(nodeid for number in self.lost for nodeid in self.plan.shards[number - 1]), *self.left_out]:
            found.setdefault(nodeid, TestResult(nodeid=nodeid, outcome="not_run", worker="none"))
        return tuple(found.values())

    def result(self, gates: Sequence[Gate]) -> Result:
        results = {report.result for report in self.reports}
        if self.lost or self.left_out:
            results.add("tests-failed")
        if not all(gate.passed for gate in gates):
            results.add("gate")
        return next((result for result in _WORST_FIRST if result in results), "green")

    def failure(self) -> Failure | None:
        """The first step that failed in a shard, with the shard's name."""
        for number, part in sorted(self.parts.items()):
            if failure := part.report.failure:
                return Failure(step=failure.step, message=f"Shard {self.name(number)}: {failure.message}"[:65_536])
        return None

    def told(self) -> list[str]:
        told = [f"Shard {self.name(number)} left no report; its tests count as not run." for number in self.lost]
        if self.left_out:
            told.append(
                f"Shards were cut by different plans, and no shard ran {len(self.left_out):,} of the tests. Give one "
                "plan to all: `savepoint plan`, then the setting plan."
            )
        return told

    def warnings(self) -> list[str]:
        """What the shards warn of; once, where all say the same."""
        said: dict[str, list[str]] = {}
        for number, part in sorted(self.parts.items()):
            for text in part.report.warnings:
                said.setdefault(text, []).append(self.name(number))
        return [
            text
            if len(names) > 1 and len(names) == len(self.parts)
            else f"Shard {', '.join(names[:5])}: {text}"[:65_536]
            for text, names in said.items()
        ]

    def shard(self, number: int) -> ShardResult:
        part = self.parts.get(number)
        if part is None:
            planned = len(self.plan.shards[number - 1])
            return ShardResult(name=self.name(number), result="lost", tests=planned, not_run=planned)
        counts = part.report.counts
        return ShardResult(
            name=part.shard.name,
            result=part.report.result,
            tests=counts.get("total", 0),
            not_run=counts.get("not_run", 0),
            seconds=part.report.timing.get("test", 0.0),
        )


def _counts(tests: Sequence[TestResult], reports: Sequence[Report]) -> dict[Count, int]:
    outcomes = Counter(test.outcome for test in tests)
    counts: dict[Count, int] = {name: outcomes[name] for name in get_args(Count) if name != "total"}
    for report in reports:
        # A shard that was interrupted knows the number of what it did not begin, not the names.
        named = sum(test.outcome == "not_run" for test in report.tests)
        counts["not_run"] += max(report.counts.get("not_run", 0) - named, 0)
    return {"total": sum(counts.values()), **counts}


def _run(reports: Sequence[Report]) -> Run:
    if not reports:
        return Run()
    first = min((report.run for report in reports), key=lambda run: run.started)
    seed = first.seed if all(report.run.seed == first.seed for report in reports) else None
    return replace(first, workers=sum(report.run.workers for report in reports), seed=seed)


def _findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding for each cause, with the tests of all shards."""
    found: dict[bytes, Finding] = {}
    for finding in findings:
        cause = msgspec.json.encode((finding.code, finding.cause, finding.culprit))
        held = found.get(cause)
        if held:
            tests = tuple(dict.fromkeys((*held.tests, *finding.tests)))[:_MOST_TESTS_OF_A_FINDING]
            found[cause] = replace(held, tests=tests, confidence=max(held.confidence, finding.confidence))
        else:
            found[cause] = finding
    return tuple(found.values())


def _silenced(reports: Sequence[Report]) -> tuple[Silenced, ...]:
    """The same for what was silenced, apart for each reason."""
    by_reason: dict[str, list[Finding]] = {}
    for each in (each for report in reports for each in report.silenced):
        by_reason.setdefault(each.reason, []).append(each.finding)
    return tuple(
        Silenced(finding=finding, reason=reason) for reason, found in by_reason.items() for finding in _findings(found)
    )


def _database(reports: Sequence[Report]) -> Database | None:
    databases = [report.database for report in reports if report.database]
    if not databases:
        return None
    isolation: Counter[str] = Counter()
    for database in databases:
        isolation.update(database.isolation)
    return replace(databases[0], isolation=dict(isolation))


def _longest(timings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The shards ran side by side, so the slowest is what was waited for."""
    longest: dict[str, float] = {}
    for timing in timings:
        for step, seconds in timing.items():
            longest[step] = max(longest.get(step, 0.0), seconds)
    return longest
