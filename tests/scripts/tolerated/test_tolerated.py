"""What a project puts up with is read strictly, and changes exactly what it names."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from pytest_savepoint.errors import SettingsError
from pytest_savepoint.settings import read_settings
from savepoint_ci.report.build import build_report
from savepoint_ci.report.model import Culprit, Finding, Gate, PhaseError, Report, Run, TestResult, Verdict
from savepoint_ci.tolerated.apply import with_tolerated
from savepoint_ci.tolerated.read import read_tolerated

TODAY = date(2030, 6, 15)
FLAKE = "tests/test_a.py::test_flake[1]"
QUARANTINE = """
[[quarantine]]
test = "tests/test_a.py::test_flake"
reason = "issue 12"
owner = "@team"
expires = {expires}
"""


def report(*failed: str, **values) -> Report:
    error = (PhaseError(phase="call", message="assert 1 == 2"),)
    tests = tuple(
        TestResult(nodeid=nodeid, outcome="failed" if nodeid in failed else "passed", phase_errors=error if nodeid in failed else ())
        for nodeid in (FLAKE, "tests/test_a.py::test_other")
    )
    counts = {"total": 2, "failed": len(failed), "passed": 2 - len(failed), "not_run": 0}
    given = {"result": "tests-failed" if failed else "green", "counts": counts, "tests": tests, **values}
    return Report(run=Run(), **given)


def judged(tmp_path, found: Report, *, expires: str = "2030-06-15") -> Report:
    (tmp_path / "savepoint-quarantine.toml").write_text(QUARANTINE.format(expires=expires))
    return with_tolerated(found, read_tolerated(tmp_path), today=TODAY)


def test_test_in_quarantine_fails_without_failing_the_run_and_is_still_shown(tmp_path):
    found = judged(tmp_path, report(FLAKE))
    assert (found.result, found.counts["failed"]) == ("green", 1)
    assert [(each.nodeid, each.failed, each.owner) for each in found.quarantined] == [(FLAKE, True, "@team")]


def test_another_test_that_fails_still_fails_the_run(tmp_path):
    assert judged(tmp_path, report(FLAKE, "tests/test_a.py::test_other")).result == "tests-failed"


def test_tests_that_did_not_run_are_not_excused(tmp_path):
    found = report(FLAKE)
    lost = Report(run=Run(), result=found.result, counts={**found.counts, "not_run": 1}, tests=found.tests)
    assert judged(tmp_path, lost).result == "tests-failed"


def test_quarantine_that_has_ended_counts_no_more_and_is_told(tmp_path):
    found = judged(tmp_path, report(FLAKE), expires="2030-06-14")
    assert (found.result, found.quarantined) == ("tests-failed", ())
    assert "ended on 2030-06-14 (@team: issue 12)" in found.warnings[0]


def test_quarantine_of_a_test_that_is_not_there_is_told(tmp_path):
    gone = Report(run=Run(), result="green", counts={"not_run": 0}, tests=report().tests[1:])
    assert "no such test ran" in judged(tmp_path, gone).warnings[0]


def test_unstable_test_in_quarantine_does_not_fail_the_gate(tmp_path):
    verdict = Verdict(nodeid=FLAKE, verdict="flaky", runs=10, failures=3)
    gate = Gate(name="stability", wanted=100.0, actual=50.0, passed=False)
    assert judged(tmp_path, report(result="gate", verdicts=(verdict,), gates=(gate,))).result == "green"


FINDING = Finding(
    code="SP507", cause="state.rows_leaked", tests=(FLAKE,), culprit=Culprit(path="tests/conftest.py", line=3),
    explanation="", fix="", confidence=0.9,
)  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "silent"),
    [
        ('code = "SP507"', True),
        ('code = "state.rows_leaked"', True),
        ('code = "SP506"', False),
        ('file = "tests/conftest.py"', True),
        ('file = "tests/test_a.py"', True),
        ('test = "tests/test_a.py::test_flake"', True),
        ('test = "tests/test_a.py::test_flake"\ncode = "SP101"', False),
        ('file = "tests/test_b.py"', False),
    ],
)
def test_finding_is_silenced_when_it_agrees_with_all_that_an_entry_says(tmp_path, entry, silent):
    (tmp_path / "pyproject.toml").write_text(f'[[tool.savepoint.silence]]\nreason = "on purpose"\n{entry}\n')
    found = with_tolerated(report(findings=(FINDING,)), read_tolerated(tmp_path), today=TODAY)
    assert bool(found.findings) is not silent
    assert [each.reason for each in found.silenced] == (["on purpose"] if silent else [])


def test_finding_of_other_tests_too_stays_for_them(tmp_path):
    (tmp_path / "pyproject.toml").write_text(f'[[tool.savepoint.silence]]\nreason = "on purpose"\ntest = "{FLAKE}"\n')
    shared = replace(FINDING, tests=(FLAKE, "tests/test_a.py::test_other"))
    found = with_tolerated(report(findings=(shared,)), read_tolerated(tmp_path), today=TODAY)
    assert [each.tests for each in found.findings] == [("tests/test_a.py::test_other",)]
    assert [(each.finding.tests, each.reason) for each in found.silenced] == [((FLAKE,), "on purpose")]


def test_what_a_marker_silences_is_in_the_report_of_the_run_with_its_reason():
    lines = [
        {"kind": "finding", **msgspec.to_builtins(FINDING)},
        {"kind": "silence", "test": FLAKE, "code": "SP507", "reason": "by design"},
        {"kind": "silence", "test": FLAKE, "code": "SP101", "reason": "not this one"},
    ]
    settings = read_settings(Path(__file__).parent, environ={})
    found = build_report([json.dumps(line) for line in lines], run=Run(), settings=settings, pytest_exit=0)
    assert found.findings == ()
    assert [(each.finding.code, each.reason) for each in found.silenced] == [("SP507", "by design")]


def test_all_faults_are_named_at_once(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.savepoint.silence]]\nreason = "x"\n'
        '[[tool.savepoint.quarantine]]\ntest = "a"\nreason = "x"\nowner = "me"\nexpires = "soon"\nuntil = 1\n'
    )
    with pytest.raises(SettingsError) as caught:
        read_tolerated(tmp_path)
    assert str(caught.value).splitlines() == [
        "[[tool.savepoint.quarantine]] no. 1 has 'until'; it takes test, reason, owner, expires.",
        "[[tool.savepoint.quarantine]] no. 1: expires is 'soon'; it takes a date such as 2030-12-31.",
        "[[tool.savepoint.silence]] no. 1 says nothing of what it silences; give code, test or file.",
    ]
