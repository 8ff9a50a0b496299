"""A test counts as passed only when all of it is known to have passed, whatever became of pytest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_savepoint
from pytest_savepoint.errors import ExitCode
from savepoint_ci.report.markdown import job_summary
from savepoint_ci.report.model import Coverage, Failure, PatchCoverage, parse_report, report_json
from savepoint_ci.report.reproduce import reproduction
from savepoint_ci.report.terminal import terminal_summary

TEST = "tests/test_a.py::test_a"
FINISHED = {"kind": "finished", "exit": 0}


def phases(*outcomes: str, nodeid: str = TEST, **more: object) -> list[dict[str, object]]:
    return [
        {"kind": "phase", "nodeid": nodeid, "when": when, "outcome": outcome, "message": "no", "duration": 1, **more}
        for when, outcome in zip(("setup", "call", "teardown"), outcomes, strict=False)
    ]


def outcome_of(report, nodeid=TEST):
    (test,) = [test for test in report.tests if test.nodeid == nodeid]
    return test.outcome


@pytest.mark.parametrize(("seed", "kept"), [(4_000_000_000, 4_000_000_000), ("default", None), (-1, None), (True, None)])
def test_seed_and_load_are_those_of_the_run_and_the_command_draws_the_same_numbers(build, seed, kept):
    report = build({"kind": "session", "seed": seed}, *phases("passed", "failed", "passed", load=1.5), FINISHED)
    assert (report.run.seed, report.tests[0].load) == (kept, 1.5)
    assert reproduction(report, [TEST]) == f"pytest {f'--randomly-seed={kept} ' if kept else ''}{TEST}"


@pytest.mark.e2e
def test_real_pytest_run_tells_every_outcome(pytester, build, monkeypatch):
    """The plugin's own evidence of a real run, with every outcome that pytest knows."""
    pytester.makepyfile(
        test_all="""
        import pytest

        @pytest.fixture
        def broken():
            raise RuntimeError("setup")

        @pytest.fixture
        def untidy():
            yield
            raise RuntimeError("teardown")

        def test_passed(): pass
        def test_failed(): assert 1 == 2
        def test_skipped(): pytest.skip("not here")
        def test_setup_error(broken): pass
        def test_teardown_error(untidy): pass
        def test_failed_twice(untidy): assert 1 == 2
        @pytest.mark.xfail
        def test_xfailed(): assert 0
        @pytest.mark.xfail
        def test_xpassed(): pass
        @pytest.mark.xfail(strict=True)
        def test_strict_xpass(): pass
        @pytest.mark.xfail(run=False)
        def test_xfail_not_run(): pass
        def test_subtests(subtests):
            with subtests.test("good"):
                pass
            with subtests.test("bad"):
                assert 0
        def test_good_subtests(subtests):
            with subtests.test("skipped"):
                pytest.skip("this one")
        """,
        test_broken="import nothing_of_this_name",
    )
    evidence = pytester.path / "evidence.jsonl"
    monkeypatch.setenv("SAVEPOINT_EVIDENCE", str(evidence))
    monkeypatch.setenv("PYTHONPATH", str(Path(pytest_savepoint.__file__).parents[1]))
    run = pytester.runpytest_subprocess(
        "-p",
        "no:savepoint",
        "-p",
        "pytest_savepoint.plugin",
        "--savepoint-isolation",
        "none",
        "--continue-on-collection-errors",
        "-p",
        "no:randomly",
    )
    report = build(*evidence.read_text().splitlines(), pytest_exit=int(run.ret))

    assert {test.nodeid.rpartition("::")[2]: test.outcome for test in report.tests} == {
        "test_passed": "passed",
        "test_failed": "failed",
        "test_skipped": "skipped",
        "test_setup_error": "error",
        "test_teardown_error": "error",
        "test_failed_twice": "error",
        "test_xfailed": "xfailed",
        "test_xpassed": "xpassed",
        "test_strict_xpass": "failed",
        "test_xfail_not_run": "xfailed",
        "test_subtests": "failed",
        "test_good_subtests": "passed",
        "test_broken.py": "error",
    }
    assert report.counts["total"] == 13
    assert report.counts["not_run"] == 0
    assert report.result == "tests-failed"
    assert parse_report(report_json(report)) == report


def test_green_run_is_green(build):
    report = build(
        {"kind": "session", "python": "3.13.0", "workers": 2, "isolation": "savepoint"},
        {"kind": "collected", "total": 1},
        {"kind": "database", "provider": "system", "version": "16.4", "template": {"name": "t", "hit": True}},
        *phases("passed", "passed", "passed", isolation="savepoint"),
        FINISHED,
        pytest_exit=0,
    )

    assert (report.result, report.exit_code) == ("green", ExitCode.GREEN)
    assert report.database.isolation == {"savepoint": 1}
    assert report.tests[0].duration == 3
    assert report.tests[0].phases == {"setup": 1, "call": 1, "teardown": 1}
    assert report.tests[0].isolation == "savepoint"
    assert report.warnings == ()


@pytest.mark.parametrize("killed_after", range(3))
def test_test_in_the_middle_of_which_pytest_was_killed_did_not_run(build, killed_after):
    lines = phases("passed", "passed", "passed")[:killed_after]
    report = build({"kind": "collected", "total": 1}, *lines, pytest_exit=-9)

    assert report.counts["not_run"] == 1
    assert report.counts["passed"] == 0
    assert report.result == "tests-failed"
    assert any("signal 9" in warning for warning in report.warnings)


def test_tests_that_were_collected_and_never_started_did_not_run(build):
    report = build({"kind": "collected", "total": 5}, *phases("passed", "passed", "passed"), FINISHED, pytest_exit=1)

    assert report.counts == {
        "total": 5,
        "passed": 1,
        "failed": 0,
        "error": 0,
        "skipped": 0,
        "xfailed": 0,
        "xpassed": 0,
        "not_run": 4,
    }
    assert report.result == "tests-failed"


@pytest.mark.parametrize("crash_first", [True, False])
def test_crash_of_a_worker_is_one_error_of_its_test(build, crash_first):
    crash = [{"kind": "crash", "worker": "gw1", "nodeid": TEST}]
    told_by_xdist = phases("passed", "failed", message=f"worker 'gw1' crashed while running '{TEST}'")[1:]
    report = build(*(crash + told_by_xdist if crash_first else told_by_xdist + crash), FINISHED, pytest_exit=1)

    assert outcome_of(report) == "error"
    assert [error.phase for error in report.tests[0].phase_errors] == ["crash"]
    assert "gw1" in report.tests[0].phase_errors[0].message


def test_crash_without_a_test_is_a_warning(build):
    report = build({"kind": "crash", "worker": "gw1", "nodeid": None}, FINISHED, pytest_exit=1)

    assert report.tests == ()
    assert report.warnings == ("worker gw1 died.",)


def test_test_that_passed_after_a_rerun_has_passed(build):
    report = build(*phases("passed", "rerun", "passed"), *phases("passed", "passed", "passed"), FINISHED, pytest_exit=0)

    assert outcome_of(report) == "passed"
    assert len(report.tests) == 1


def test_half_written_and_foreign_lines_are_counted_and_nothing_is_lost(build):
    good = [json.dumps(line) for line in phases("passed", "failed", "passed")]
    report = build(
        *good, "", '{"kind": "phase", "nodeid', "[" * 100_000, '{"kind": "of tomorrow"}', "42", pytest_exit=1
    )

    assert outcome_of(report) == "failed"
    assert any(warning.startswith("4 line(s)") for warning in report.warnings)


def test_hostile_values_never_break_the_report(build):
    report = build(
        *phases(
            "failed", message="\ud800 \x00 \x1b[31mred\x1b[0m", text="x" * 1_000_000, path="a\nb", line=-5, duration=-1
        ),
        {"kind": "finding", "code": "nonsense", "cause": "x", "tests": []},
        '{"kind": "phase", "nodeid": "n", "when": "call", "outcome": "passed", "duration": NaN}',
        FINISHED,
        pytest_exit=1,
    )

    assert parse_report(report_json(report)) == report
    assert report.tests[0].phase_errors[0].message == "\ufffd \ufffd red"
    assert report.findings == ()


@pytest.mark.parametrize(
    ("given", "result", "code"),
    [
        ({"failure": Failure(step="migrate", message="no")}, "database", ExitCode.DATABASE),
        ({"failure": Failure(step="provision", message="no")}, "database", ExitCode.DATABASE),
        ({"failure": Failure(step="install", message="no")}, "error", ExitCode.USAGE),
        ({"pytest_exit": 2}, "interrupted", ExitCode.INTERRUPTED),
        ({"pytest_exit": -15}, "interrupted", ExitCode.INTERRUPTED),
        ({"pytest_exit": 5}, "tests-failed", ExitCode.TESTS_FAILED),
        ({"pytest_exit": 3}, "tests-failed", ExitCode.TESTS_FAILED),
        ({"pytest_exit": None}, "tests-failed", ExitCode.TESTS_FAILED),
        ({"pytest_exit": 0}, "green", ExitCode.GREEN),
    ],
)
def test_result_follows_from_what_stopped_the_run(build, given, result, code):
    report = build(*phases("passed", "passed", "passed"), **given)

    assert (report.result, report.exit_code) == (result, code)


def test_collection_error_is_a_failed_run_and_not_an_interrupted_one(build):
    broken = {"kind": "phase", "nodeid": "tests/test_a.py", "when": "collect", "outcome": "failed", "message": "no"}
    report = build(broken, {"kind": "finished", "exit": 2}, pytest_exit=2)

    assert report.result == "tests-failed"
    assert report.counts["error"] == 1


def coverage(total: float, patch: float | None) -> Coverage:
    diff = None if patch is None else PatchCoverage(percent=patch, covered=1, changed=2)
    return Coverage(lines=total, branches=None, total=total, diff=diff)


@pytest.mark.parametrize(
    ("total", "patch", "result"),
    [(80, 90, "green"), (79.999, 90, "gate"), (80, 89.9, "gate"), (80, None, "green"), (None, None, "gate")],
)
def test_gate_is_held_to_the_measured_value_and_an_unmeasured_one_fails(build, total, patch, result):
    flags = {"coverage_fail_under": "80", "patch_coverage_fail_under": "90"}
    measured = None if total is None else coverage(total, patch)
    report = build(*phases("passed", "passed", "passed"), FINISHED, pytest_exit=0, coverage=measured, flags=flags)

    assert report.result == result
    assert bool(report.warnings) == (patch is None and total is not None)


def test_failing_tests_come_before_a_failing_gate(build):
    flags = {"coverage_fail_under": "80"}
    lines = phases("passed", "failed", "passed")
    report = build(*lines, FINISHED, pytest_exit=1, coverage=coverage(10, None), flags=flags)

    assert report.result == "tests-failed"
    assert not report.gates[0].passed


def test_flood_of_warnings_and_findings_still_makes_a_report_that_can_be_read(build):
    warned = {"kind": "warning", "text": "again"}
    found = {"kind": "finding", "code": "SP104", "cause": "loop.x", "tests": [TEST], "confidence": 1}
    report = build(*[warned] * 1_500, *[found] * 10_500, FINISHED, pytest_exit=0)

    assert len(parse_report(report_json(report)).findings) == 10_000
    assert len(report.warnings) == 1_000


def test_finding_whose_cause_is_no_text_is_counted_and_the_rest_is_reported(build):
    found = {"kind": "finding", "code": "SP104", "cause": "loop.\ud800", "tests": [TEST], "confidence": 1}
    report = build(found, *phases("passed", "passed", "passed"), FINISHED, pytest_exit=0)

    assert (report.findings, report.result) == ((), "green")
    assert "1 line(s) of evidence could not be read" in report.warnings[0]


def test_new_revisions_stand_in_the_report_and_in_the_comment(build):
    line = {"kind": "migration", "revision": "0002", "path": "migrations/0002.py", "seconds": 0.5}
    locks = {"public.users": "AccessExclusiveLock"}
    report = build(*phases("passed", "passed", "passed"), {**line, "locks": locks}, FINISHED)
    (applied,) = parse_report(report_json(report)).migrations
    assert (applied.revision, applied.path, applied.seconds, applied.locks) == (
        "0002",
        "migrations/0002.py",
        0.5,
        locks,
    )
    assert "New revision `migrations/0002.py`: 0.5 s, AccessExclusiveLock on `public.users`" in job_summary(report)


def test_growth_of_a_process_stands_in_the_report(build):
    grown = {"test": TEST, "bytes": 4096, "tasks": 1, "connections": -1}
    held = {"bytes": 1, "tasks": 0, "connections": 0}
    line = {"kind": "growth", "worker": "gw0", "first": held, "last": held, "tests": [grown]}
    report = parse_report(report_json(build(*phases("passed", "passed", "passed"), line, FINISHED)))
    assert [(each.worker, each.tests[0].bytes) for each in report.growth] == [("gw0", 4096)]
    assert "grew by" not in terminal_summary(report), "nothing that people should look at"


def test_tests_and_lines_that_made_a_process_grow_are_told(build):
    grown = {"test": TEST, "bytes": 3 * 2**20, "tasks": 2, "connections": 0, "cycles": 5000}
    allocated = {"path": "shop/cache.py", "line": 7, "bytes": 2**20, "blocks": 3}
    last = {"bytes": 3 * 2**20, "tasks": 2, "connections": 0, "cycles": 5000}
    text = terminal_summary(build({"kind": "growth", "worker": "gw0", "last": last, "tests": [grown], "allocated": [allocated]}))
    assert "gw0 grew by +3.0 MiB, +2 tasks and +0 connections; 5000 objects were freed by the garbage collector only" in text
    assert f"  - +3.0 MiB, +2 tasks, +0 connections, 5000 in cycles: {TEST}" in text
    assert "  - +1.0 MiB allocated at shop/cache.py:7" in text


def test_growth_that_breaks_the_schema_does_not_end_the_report(build):
    line = {"kind": "growth", "worker": "gw0", "first": {"bytes": -5}, "tests": [{"test": 7}]}
    report = build(*phases("passed", "passed", "passed"), line, FINISHED)
    assert report.growth == ()
    assert any("could not be read" in text for text in report.warnings)
