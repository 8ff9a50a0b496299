"""A check run is made only where it is asked for, once for each run of a workflow, and never changes a verdict."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_github import FakeGitHub, Fault
from pytest_savepoint.settings import read_settings
from savepoint_ci.github.publish import Publication, publish_check_run
from savepoint_ci.report.model import Report, Result, Run


@pytest.fixture
def check(environ, make_client, tmp_path) -> Callable[..., Publication]:
    def check(result: Result = "green", **more: str) -> Publication:
        variables = {**environ, "SAVEPOINT_CHECK_RUN": "true", **more}
        report = Report(result=result, counts={"total": 3, "passed": 3}, run=Run())
        settings = read_settings(tmp_path, environ=variables)
        return publish_check_run(report, settings=settings, environ=variables, make_client=make_client)

    return check


@pytest.mark.parametrize(
    ("result", "conclusion"),
    [("green", "success"), ("tests-failed", "failure"), ("gate", "failure"), ("database", "failure"),
     ("error", "failure"), ("interrupted", "cancelled")],
)  # fmt: skip
def test_verdict_stands_on_the_commit_that_was_tested(github, check, result, conclusion):
    assert check(result).url
    (run,) = github.actions.check_runs
    assert (run["head_sha"], run["status"], run["conclusion"]) == ("a" * 40, "completed", conclusion)
    assert run["name"] == "Savepoint (default)"
    assert run["output"]["title"]


def test_job_that_runs_again_brings_its_check_run_up_to_date(github, check):
    check("tests-failed")
    check("green")
    assert [run["conclusion"] for run in github.actions.check_runs] == ["success"]
    check("green", GITHUB_RUN_ID="99")
    assert len(github.actions.check_runs) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"SAVEPOINT_CHECK_RUN": "false"},
        {"SAVEPOINT_SHARD": "1/2"},
        {"SAVEPOINT_GITHUB_TOKEN": ""},
        {"GITHUB_ACTIONS": ""},
        {"ACT": "true"},
    ],
    ids=str,
)
def test_without_being_asked_for_nothing_is_asked(github, check, change):
    assert check(**change) == Publication("summary only")
    assert github.requests == []


def test_missing_permission_is_named_and_an_outage_is_a_reason(check, github):
    with FakeGitHub(read_only=True) as fake:
        assert "grant checks: write" in check(GITHUB_API_URL=fake.url).reason
    github.faults = [Fault("GET", 500, times=99)]
    assert "500" in check().reason
