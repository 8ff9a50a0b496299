"""What the comment says of a failure: how to see it again, whether it is news, and whether it gets worse."""

from __future__ import annotations

import shlex

import pytest
from hostile_text import hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from report_samples import SAMPLES
from safe_renderings import CONTROL
from savepoint_ci.report.markdown import comment_body
from savepoint_ci.report.model import History, TestHistory, Verdict
from savepoint_ci.report.reproduce import reproduction
from savepoint_ci.report.sections.unsteady import trend

BROKEN = SAMPLES["failures"]
TEST = BROKEN.tests[-1].nodeid


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile, max_size=5))
def test_shell_reads_a_command_as_pytest_and_names_of_tests_and_nothing_else(nodeids):
    command = reproduction(BROKEN, nodeids)

    assert not CONTROL.search(command)
    assert "\n" not in command
    program, *called = shlex.split(command) or ["pytest"]
    assert program == "pytest"
    assert set(called) <= set(nodeids)
    assert not any(each.startswith("-") for each in called)


@pytest.mark.parametrize("nodeid", ["-k nothing", "a.py::test[\n]", "a.py::test[\x1b[31m]", "a.py::test[\u202e]", ""])
def test_name_that_a_terminal_or_pytest_would_take_for_something_else_gets_no_command(nodeid):
    assert reproduction(BROKEN, [nodeid]) == ""


def test_command_that_a_rerun_has_proved_wins_over_the_plain_one():
    verdict = Verdict(nodeid=TEST, verdict="flaky", runs=5, failures=1, command="pytest -p xdist a.py")

    assert reproduction(replace(BROKEN, verdicts=(verdict,)), ["other.py::test", TEST]) == "pytest -p xdist a.py"


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ((), "**1** new here"),
        ((TestHistory(nodeid=TEST, runs=9, failures=1, recent="F........"),), "**1** new here"),
        ((TestHistory(nodeid=TEST, runs=9, failures=4, standing="known-flaky"),), "**1** known to be flaky"),
        (
            (TestHistory(nodeid=TEST, runs=9, failures=4, standing="broken-on-base"),),
            "**1** broken on the base branch too",
        ),
    ],
)
def test_failure_is_news_unless_the_history_knows_it(tests, said):
    assert f"Of the failures: {said}." in comment_body(replace(BROKEN, history=History(runs=9, tests=tests)))


def test_without_a_history_nothing_is_called_news():
    assert "Of the failures" not in comment_body(BROKEN)
    assert "Of the failures" not in comment_body(replace(BROKEN, history=History(runs=0)))


@pytest.mark.parametrize(
    ("recent", "said"),
    [
        ("......FF", "more often lately"),
        ("FF......", "less often lately"),
        ("F.F.F.F.", ""),
        ("sss.sssF", ""),  # two runs say nothing yet
        ("", ""),
    ],
)
def test_trend_compares_the_newer_half_of_the_runs_with_the_older(recent, said):
    assert trend(TestHistory(nodeid=TEST, runs=8, failures=2, recent=recent)) == said
