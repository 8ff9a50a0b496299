"""A history is written by a push to the default branch, or on a laptop; a pull request reads what was fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_actions import zipped
from fake_github import REPOSITORY, TOKEN, Fault
from msgspec.structs import replace
from pytest_savepoint.settings import read_settings
from savepoint_ci.github.names import comment_key
from savepoint_ci.history.fetch import HISTORY_FILE, artifact_name
from savepoint_ci.history.keep import known_history, write_history
from savepoint_ci.history.model import History, history_bytes, parse_history
from savepoint_ci.invocation import Invocation
from savepoint_ci.report.model import Report, Run, Shard, TestResult
from savepoint_ci.state import State
from savepoint_ci.steps.history import history

REPORT = Report(
    result="green", counts={"total": 1, "passed": 1}, run=Run(), tests=(TestResult(nodeid="test_a", outcome="passed"),)
)


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def invocation(tmp_path: Path):
    def make(payload: dict[str, Any] | None = None, **variables: str) -> Invocation:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        event = tmp_path / "event.json"
        event.write_text(
            json.dumps({"repository": {"full_name": REPOSITORY, "default_branch": "main"}, **(payload or {})})
        )
        environ = {"GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": REPOSITORY, **variables}
        settings = read_settings(project, environ=environ)
        state = State(tmp_path / "state")
        return Invocation(
            project=project, settings=settings, environ=environ, cache=tmp_path / "cache", state=state, display=Said()
        )

    return make


PUSH = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}


def test_laptop_goes_on_from_its_last_run(invocation):
    here = invocation()
    for runs in (1, 2, 3):
        file = write_history(here, REPORT)
        assert parse_history(file.read_bytes()).runs == runs
    assert known_history(here).tests["test_a"].recent == "..."


def test_push_to_the_default_branch_goes_on_from_what_was_fetched(invocation):
    here = invocation(**PUSH)
    (here.state.folder / HISTORY_FILE).write_bytes(history_bytes(History(runs=8)))
    assert parse_history(write_history(here, REPORT).read_bytes()).runs == 9


@pytest.mark.parametrize(
    "change",
    [
        {"GITHUB_EVENT_NAME": "pull_request"},
        {"GITHUB_EVENT_NAME": "pull_request_target"},
        {"GITHUB_EVENT_NAME": "merge_group"},
        {"GITHUB_EVENT_NAME": "schedule"},
        {"GITHUB_REF": "refs/heads/topic"},
        {"GITHUB_REF": "refs/tags/main"},
        {"ACT": "true"},
        {"SAVEPOINT_HISTORY": "false"},
    ],
    ids=str,
)
def test_nothing_else_writes_one(invocation, change):
    here = invocation(**{**PUSH, **change})
    assert write_history(here, REPORT) is None
    assert not (here.report_folder / HISTORY_FILE).exists()


@pytest.mark.parametrize("result", ["interrupted", "database", "error"])
def test_run_that_did_not_come_to_its_end_says_nothing_about_tests(invocation, result):
    assert write_history(invocation(), replace(REPORT, result=result)) is None


def test_shard_writes_none_because_it_knows_a_part_only(invocation):
    assert write_history(invocation(), replace(REPORT, shard=Shard(name="1/2"))) is None


def test_job_never_reads_what_lies_in_the_workspace(invocation):
    here = invocation(**PUSH)
    (here.report_folder / HISTORY_FILE).write_bytes(history_bytes(History(runs=66)))
    assert known_history(here) is None


def test_step_fetches_for_a_pull_request_and_never_fails(invocation, github):
    here = invocation(
        GITHUB_ACTIONS="true", GITHUB_EVENT_NAME="pull_request", GITHUB_API_URL=github.url, SAVEPOINT_GITHUB_TOKEN=TOKEN
    )
    name = artifact_name(comment_key(here.settings, here.environ))
    github.actions.add_artifact(github.actions.add_run(), name, zipped(history_json_gz=history_bytes(History(runs=5))))
    history(here)
    assert known_history(here).runs == 5
    github.faults = [Fault("GET", 403, "Resource not accessible by integration")]
    history(here)
    assert known_history(here) is None
    assert "grant actions: read" in here.display.lines[-1]


@pytest.mark.parametrize(
    "change", [{"SAVEPOINT_SHARD": "1/2"}, {"SAVEPOINT_HISTORY": "false"}, {"SAVEPOINT_GITHUB_TOKEN": ""}]
)
def test_step_asks_nothing_where_it_would_be_of_no_use(invocation, github, change):
    variables = {"GITHUB_ACTIONS": "true", "GITHUB_API_URL": github.url, "SAVEPOINT_GITHUB_TOKEN": TOKEN, **change}
    history(invocation(**variables))
    assert github.requests == []
