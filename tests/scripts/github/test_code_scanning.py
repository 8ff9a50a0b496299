"""Findings reach code scanning only where somebody asks for it, once for each commit and job, and change no verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fake_github import REPOSITORY, FakeGitHub, Fault
from pytest_savepoint.settings import read_settings
from report_samples import SAMPLES
from savepoint_ci.github.publish import Publication, publish_findings
from savepoint_ci.report.model import report_json
from savepoint_ci.report.sarif import sarif

FINDINGS = SAMPLES["findings"].findings
MERGED = {"GITHUB_REF": "refs/pull/7/merge"}


@pytest.fixture
def send(environ: dict[str, str], make_client: Any, tmp_path: Any) -> Callable[..., Publication]:
    def send(job: str = "test", findings: Any = FINDINGS, **more: str) -> Publication:
        variables = {**environ, **MERGED, "SAVEPOINT_CODE_SCANNING": "true", **more}
        settings = read_settings(tmp_path, environ=variables)
        log = sarif(findings, category=f"savepoint/{job}")
        return publish_findings(log, settings=settings, environ=variables, make_client=make_client)

    return send


@pytest.mark.parametrize(
    ("event", "ref", "place"),
    [
        ("pull_request", "refs/pull/7/merge", ("refs/pull/7/merge", "c" * 40)),
        ("pull_request_target", "refs/heads/main", ("refs/pull/7/head", "a" * 40)),
        ("push", "refs/heads/topic", ("refs/heads/topic", "c" * 40)),
        ("merge_group", "refs/heads/gh-readonly-queue/main/pr-7", ("refs/heads/gh-readonly-queue/main/pr-7", "c" * 40)),
    ],
)
def test_findings_stand_at_the_commit_whose_lines_they_name(github, send, event, ref, place):
    assert send(GITHUB_EVENT_NAME=event, GITHUB_REF=ref).url == f"https://github.com/{REPOSITORY}/security/code-scanning"
    ((found, log),) = github.actions.analyses.items()
    assert found == (*place, "savepoint/test")
    assert [each["ruleId"] for each in log["runs"][0]["results"]] == [each.code for each in FINDINGS]


def test_job_that_runs_again_takes_the_place_of_its_findings_and_of_no_other_job_s(github, send):
    send()
    send(job="lint")
    send(findings=())
    left = {category: log["runs"][0]["results"] for (*_, category), log in github.actions.analyses.items()}
    assert left["savepoint/test"] == []
    assert left["savepoint/lint"]


@pytest.mark.parametrize(
    "change",
    [
        {"SAVEPOINT_CODE_SCANNING": "false"},
        {"SAVEPOINT_SHARD": "1/2"},
        {"SAVEPOINT_GITHUB_TOKEN": ""},
        {"GITHUB_ACTIONS": ""},
        {"GITHUB_EVENT_NAME": "workflow_run"},
        {"ACT": "true"},
    ],
    ids=str,
)
def test_without_being_asked_for_nothing_is_sent(github, send, change):
    assert send(**change) == Publication("summary only")
    assert github.requests == []


@pytest.mark.parametrize(
    "fault", [Fault("POST"), Fault("POST", 502), Fault("POST", done=True), Fault("POST", 429, headers={"retry-after": "3"})]
)
def test_findings_arrive_whatever_gets_lost_once(github, send, fault):
    github.faults = [fault]
    assert send().url
    assert len(github.actions.analyses) == 1


def test_outage_is_a_reason_and_a_warning(github, send):
    github.faults = [Fault("POST", 500, times=99)]
    publication = send()
    assert "500" in publication.reason
    assert publication.unexpected


def test_token_of_a_fork_may_not_and_that_is_no_warning(send, event_file, pull_request_payload):
    pull_request_payload["pull_request"]["head"]["repo"] = {"full_name": "stranger/Hello-World"}
    with FakeGitHub(read_only=True) as fake:
        publication = send(GITHUB_API_URL=fake.url, GITHUB_EVENT_PATH=event_file(pull_request_payload))
    assert "fork" in publication.reason
    assert not publication.unexpected


def test_step_warns_of_a_missing_permission_and_stays_green(tool, environ):
    folder = tool.project / ".savepoint"
    folder.mkdir()
    (folder / "report.json").write_bytes(report_json(SAMPLES["findings"]))
    (folder / "findings.sarif").write_bytes(sarif(FINDINGS, category="savepoint"))
    asked = {"SAVEPOINT_CODE_SCANNING": "true", "SAVEPOINT_CHECK_RUN": "true"}
    with FakeGitHub(read_only=True) as fake:
        tool.environ |= {**environ, **MERGED, **asked, "GITHUB_API_URL": fake.url}
        done = tool.call("comment")
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = [line for line in done.stdout.splitlines() if line.startswith("::warning")]
    assert ["checks: write" in warnings[0], "security-events: write" in warnings[1]] == [True, True], done.stdout
    assert json.loads((folder / "report.json").read_bytes())["result"] == "tests-failed"
