"""A merged report says what one run of the whole suite would say; what no shard reported did not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from pytest_savepoint.settings import read_settings
from savepoint_ci.report.model import (
    Coverage,
    Culprit,
    Database,
    Failure,
    Finding,
    Report,
    Result,
    Run,
    Shard,
    Silenced,
    TestResult,
)
from savepoint_ci.shards.merge import Part, merge_reports, newest_parts
from savepoint_ci.shards.plan import Plan, PlanError

PLAN = Plan(shards=(("a", "b"), ("c",), ("d", "e", "f")))
SETTINGS = read_settings(Path(__file__).parent, environ={})
FINDING = Finding(
    code="SP104",
    cause="loop.resource_outlived_loop",
    tests=("a",),
    culprit=Culprit(path="conftest.py", line=3),
    explanation="",
    fix="",
    confidence=0.5,
)


def part(
    number: int, *outcomes: str, plan: Plan = PLAN, attempt: int = 1, result: Result = "green", **more: object
) -> Part:
    """The report of a shard; outcomes in the order of its planned tests."""
    names = plan.shards[number - 1]
    given = outcomes or ("passed",) * len(names)
    tests = tuple(TestResult(nodeid=name, outcome=outcome) for name, outcome in zip(names, given, strict=False))
    counts = {outcome: given.count(outcome) for outcome in set(given)}
    report = Report(
        result=result,
        counts={"total": len(tests), **counts},
        run=Run(id="9", workers=2, started=f"2026-01-01T00:0{attempt}:00"),
        tests=tests,
        shard=Shard(name=f"{number}/{len(plan.shards)}", attempt=attempt, plan=plan.digest),
    )
    return Part(replace(report, **more), plan)


def merged(*parts: Part, plan: Plan = PLAN, **more: object) -> Report:
    more.setdefault("settings", SETTINGS)
    return merge_reports(newest_parts(parts, plan), plan, **more)


def outcomes(report: Report) -> dict[str, str]:
    return {test.nodeid: test.outcome for test in report.tests}


def test_all_shards_green_make_one_green_report():
    report = merged(part(1), part(2), part(3))
    assert report.result == "green"
    assert report.counts["total"] == report.counts["passed"] == 6
    assert [(shard.name, shard.result, shard.tests) for shard in report.shards] == [
        ("1/3", "green", 2),
        ("2/3", "green", 1),
        ("3/3", "green", 3),
    ]
    assert report.run.workers == 6


def test_what_shards_have_silenced_stays_listed_once_for_each_reason():
    here, there = (Silenced(finding=replace(FINDING, tests=(name,)), reason="by design") for name in "ac")
    report = merged(part(1, silenced=(here,)), part(2, silenced=(there, replace(there, reason="mail"))), part(3))
    assert [(each.finding.tests, each.reason) for each in report.silenced] == [(("a", "c"), "by design"), (("c",), "mail")]


def test_shard_that_left_nothing_is_named_and_its_tests_did_not_run():
    report = merged(part(1), part(2))
    assert report.result == "tests-failed"
    assert (report.counts["passed"], report.counts["not_run"], report.counts["total"]) == (3, 3, 6)
    assert outcomes(report)["e"] == "not_run"
    assert report.shards[2].result == "lost"
    assert report.shards[2].not_run == 3
    assert "Shard 3/3 left no report" in report.warnings[0]


def test_no_shard_at_all_is_no_pass():
    report = merged()
    assert report.result == "tests-failed"
    assert report.counts["not_run"] == report.counts["total"] == 6


def test_tests_that_an_interrupted_shard_did_not_name_count_as_not_run():
    short = part(3, "passed", result="interrupted")
    short = Part(replace(short.report, counts={"total": 3, "passed": 1, "not_run": 2}), PLAN)
    report = merged(part(1), part(2), short)
    assert report.result == "interrupted"
    assert (report.counts["not_run"], report.counts["total"]) == (2, 6)


def test_newest_attempt_of_a_shard_wins():
    red, green = part(2, "failed", result="tests-failed"), part(2, attempt=2)
    report = merged(part(1), green, red, part(3))
    assert report.result == "green"
    assert report.counts["failed"] == 0


def test_shard_that_died_when_all_jobs_ran_again_is_lost_although_the_first_attempt_was_green():
    again = replace(PLAN, attempt=2)
    report = merged(part(1, attempt=2), part(2, attempt=1), part(3, attempt=2), plan=again)
    assert report.shards[1].result == "lost"
    assert report.result == "tests-failed"


@pytest.mark.parametrize("worst", ["interrupted", "database", "error", "tests-failed", "gate"])
def test_worst_shard_decides(worst):
    assert merged(part(1), part(2, result=worst), part(3)).result == worst


def test_failed_step_is_told_with_its_shard():
    failed = part(2, result="database", failure=Failure(step="migrate", message="no such table"))
    assert merged(part(1), failed, part(3)).failure == Failure(step="migrate", message="Shard 2/3: no such table")


def test_one_cause_in_two_shards_is_one_finding_with_the_tests_of_both():
    other = replace(FINDING, tests=("d",), confidence=0.9)
    report = merged(part(1, findings=(FINDING,)), part(2), part(3, findings=(other,)))
    (finding,) = report.findings
    assert (finding.tests, finding.confidence) == (("a", "d"), 0.9)


def test_what_every_shard_warns_of_is_said_once_and_the_rest_with_its_shard():
    report = merged(part(1, warnings=("old", "slow")), part(2, warnings=("old",)), part(3, warnings=("old",)))
    assert report.warnings == ("old", "Shard 1/3: slow")


def test_isolation_is_summed_and_the_slowest_shard_is_what_was_waited_for():
    def database(count: int) -> Database:
        return Database(provider="system", reason="", version="16", template=None, isolation={"savepoint": count})

    report = merged(
        part(1, database=database(2), timing={"test": 1.0}),
        part(2, database=database(1), timing={"test": 9.0}),
        part(3, timing={"test": 2.0}),
    )
    assert report.database.isolation == {"savepoint": 3}
    assert report.timing == {"test": 9.0}


def test_gates_hold_the_coverage_of_all_shards_together(tmp_path):
    settings = read_settings(tmp_path, flags={"coverage_fail_under": "90"}, environ={})
    coverage = Coverage(lines=80, branches=None, total=80)
    assert merged(part(1), part(2), part(3), settings=settings, coverage=coverage).result == "gate"


def test_tests_that_fell_between_different_plans_did_not_run():
    other = Plan(shards=(("a", "c"), ("b",), ("d", "e", "f")))
    report = merged(part(1), part(2, plan=other), part(3))
    assert outcomes(report) == {"a": "passed", "b": "passed", "c": "not_run", **dict.fromkeys("def", "passed")}
    assert report.result == "tests-failed"
    assert "different plans" in report.warnings[0]


def test_worse_outcome_counts_when_different_plans_ran_a_test_twice():
    other = Plan(shards=(("a",), ("b", "c"), ("d", "e", "f")))
    report = merged(part(1), part(2, "failed", "passed", plan=other, result="tests-failed"), part(3))
    assert outcomes(report)["b"] == "failed"
    assert report.counts["total"] == 6


def test_report_of_another_run_is_refused():
    with pytest.raises(PlanError, match="shard 1/2, but the plan has 3"):
        merged(part(1, plan=Plan(shards=(("a",), ("b",)))))
