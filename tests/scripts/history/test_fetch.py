"""Only what a push to the default branch of this very repository left is a history, whatever else has its name."""

from __future__ import annotations

import pytest
from fake_actions import zipped
from fake_github import TOKEN, Fault
from savepoint_ci.github.errors import GitHubError
from savepoint_ci.history.fetch import artifact_name
from savepoint_ci.history.model import HISTORY_BYTES, parse_history


def runs_of(fetched) -> int | None:
    return parse_history(fetched.data).runs if fetched else None


def test_without_a_run_of_the_default_branch_there_is_none(github, fetch):
    assert fetch() is None
    assert len(github.requests) == 1


def test_newest_is_taken(fetch, leave):
    for runs in (1, 2, 3):
        leave(runs)
    assert runs_of(fetch()) == 3


def test_that_of_the_merge_base_comes_before_newer_ones(fetch, leave):
    leave(1, sha="b" * 40)
    leave(2, sha="c" * 40)
    assert runs_of(fetch(base="b" * 40)) == 1
    assert runs_of(fetch(base="d" * 40)) == 2


@pytest.mark.parametrize(
    "run",
    [
        {"repository": "stranger/Hello-World", "event": "pull_request"},
        {"repository": "stranger/Hello-World"},
        {"event": "pull_request"},
        {"event": "workflow_dispatch"},
        {"branch": "main2"},
    ],
    ids=str,
)
def test_run_that_is_no_push_to_our_default_branch_is_not_believed(fetch, leave, run):
    leave(1)
    leave(66, **run)
    assert runs_of(fetch()) == 1


def test_artifact_that_lies_about_its_branch_is_found_out_by_its_run(github, fetch, leave):
    leave(66, branch="topic")
    github.actions.artifacts[0]["workflow_run"]["head_branch"] = "main"
    assert fetch() is None


@pytest.mark.parametrize(
    "archive",
    [
        lambda: b"no archive",
        lambda: zipped(other_txt="x"),
        lambda: zipped(history_json_gz=b"\x1f\x8bno gzip"),
        lambda: zipped(history_json_gz=b"x" * (HISTORY_BYTES + 1)),
    ],
    ids=["no archive", "another file", "no history", "too large"],
)
def test_poisoned_one_is_passed_over_for_the_one_before(fetch, leave, archive):
    leave(1)
    leave(2, archive=archive())
    assert runs_of(fetch()) == 1


def test_expired_or_huge_one_is_never_downloaded(github, fetch, leave):
    leave(1)
    leave(2)
    github.actions.artifacts[0]["size_in_bytes"] = HISTORY_BYTES + 1
    github.actions.artifacts[1]["expired"] = True
    assert fetch() is None
    assert github.actions.seen_by_storage == []


def test_histories_of_other_jobs_have_other_names(fetch, leave):
    leave(9, name=artifact_name("Tests/lint"))
    assert fetch() is None
    assert artifact_name("Tests/test") == artifact_name("Tests/test") != artifact_name("Tests-test")


def test_name_of_an_artifact_takes_nothing_that_github_refuses():
    assert set('":<>|*?\r\n\\/').isdisjoint(artifact_name('a":<>|*?\r\n\\/b' * 9))


def test_usual_fetch_asks_three_times_and_the_storage_sees_no_token(github, fetch, leave):
    leave(1)
    fetch()
    assert len(github.requests) == 3
    assert all(TOKEN not in str(headers) for headers in github.actions.seen_by_storage)


def test_many_broken_ones_cost_at_most_seven_requests(github, fetch, leave):
    for _ in range(20):
        leave(1, archive=b"broken")
    assert fetch() is None
    assert len(github.requests) == 7


def test_outage_is_an_error_that_the_step_turns_into_a_line(github, fetch, leave):
    leave(1)
    github.faults = [Fault("GET", 503, times=99)]
    with pytest.raises(GitHubError, match="503"):
        fetch()
