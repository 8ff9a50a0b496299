"""One comment per pull request and job, never two, and never a lost verdict, whatever GitHub does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_github import BOT, TOKEN, FakeGitHub, Fault
from savepoint_ci.report.model import Report, Run, TestResult


def red(message: str = "boom") -> Report:
    tests = (TestResult(nodeid=f"tests/test_a.py::{message}", outcome="failed"),)
    return Report(result="tests-failed", counts={"total": 1, "failed": 1}, run=Run(), tests=tests)


def test_first_run_makes_one_comment_with_the_verdict(github, post):
    publication = post()

    assert publication.outcome == "comment"
    assert publication.url == github.comments[0]["html_url"]
    (body,) = github.bodies()
    assert body.startswith("<!-- savepoint:default -->\n### ✅ 3 tests passed")
    assert "https://github.com/octocat/Hello-World/actions/runs/12345" in body


def test_next_run_updates_the_comment_in_place(github, post):
    first = post()
    second = post(red())

    assert second.url == first.url
    (body,) = github.bodies()
    assert "### ❌ 1 failed of 1 test" in body


def test_same_report_again_writes_nothing(github, post):
    post()
    before = len(github.writes)
    post()

    assert len(github.writes) == before


def test_comment_is_found_behind_a_hundred_and_forty_others(github, post):
    for number in range(70):
        github.add_comment(f"comment {number}", author="somebody")
    post()
    for number in range(75):
        github.add_comment(f"comment {number}", author="somebody")
    post(red())

    assert len(github.bodies()) == 1
    assert "❌" in github.bodies()[0]


def test_comment_of_another_author_with_our_marker_is_never_touched(github, post):
    body = "<!-- savepoint:default -->\nmine, said somebody"
    github.add_comment(body, author="somebody")
    post()
    post(red())

    assert github.bodies(author="somebody") == [body]
    assert len(github.bodies()) == 1


def test_author_is_the_token_s_own_and_not_a_fixed_name(github, post):
    github.login = "our-app[bot]"
    github.add_comment("<!-- savepoint:default -->\nof the other bot", author=BOT)
    post()
    github.comments[-1]["user"]["login"] = "our-app[bot]"  # the fake writes as the workflow's bot
    post(red())

    assert len(github.bodies(author="our-app[bot]")) == 1
    assert "of the other bot" in github.bodies()[0]


def test_jobs_with_different_keys_have_a_comment_each(github, post):
    for key in ("py3.10", "py3.13", "py3.10"):
        post(SAVEPOINT_COMMENT_KEY=key)

    assert len(github.bodies()) == 2


def test_two_posters_at_once_end_with_one_comment(github, post):
    together = threading.Barrier(2, timeout=15)
    github.before_create = together.wait
    with ThreadPoolExecutor(2) as pool:
        publications = list(pool.map(post, [red("one"), red("two")]))

    assert len([write for write in github.writes if write.method == "POST"]) == 2
    assert len(github.bodies()) == 1
    assert {publication.outcome for publication in publications} == {"comment"}


def test_comment_that_was_made_although_the_answer_got_lost_is_not_made_twice(github, post):
    github.faults = [Fault("POST", done=True)]
    publication = post()

    assert publication.outcome == "comment"
    assert len(github.bodies()) == 1


def test_comment_that_was_not_made_when_the_connection_dropped_is_made_then(github, post):
    github.faults = [Fault("POST"), Fault("POST", 502)]
    publication = post()

    assert publication.outcome == "comment"
    assert len(github.bodies()) == 1


def test_comment_that_somebody_removed_meanwhile_is_made_again(github, post):
    post()
    removed = github.comments[0]["id"]
    github.faults = [Fault("PATCH", 404, "Not Found")]
    post(red())

    assert len(github.bodies()) == 1
    assert removed == github.comments[0]["id"]


def test_older_duplicate_is_kept_and_newer_ones_are_removed(github, post):
    oldest = github.add_comment("<!-- savepoint:default -->\nold")
    github.add_comment("<!-- savepoint:default -->\nnewer")
    publication = post()

    assert [comment["id"] for comment in github.comments] == [oldest["id"]]
    assert publication.url == oldest["html_url"]


def test_too_long_comment_is_posted_shorter(make_client, environ, post):
    huge = Report(
        result="tests-failed",
        counts={"total": 900, "failed": 900},
        run=Run(),
        tests=tuple(TestResult(nodeid=f"tests/test_{'x' * 150}.py::test_{n}", outcome="failed") for n in range(900)),
    )
    with FakeGitHub(max_characters=5_000) as small:
        publication = post(huge, GITHUB_API_URL=small.url)
        (body,) = small.bodies()

    assert publication.outcome == "comment"
    assert len(body) < 5_000
    assert "### ❌ 900 failed of 900 tests" in body
    assert "Left out" in body


def test_read_only_token_of_a_fork_leaves_the_summary_and_no_warning(environ, post, event_file, pull_request_payload):
    pull_request_payload["pull_request"]["head"]["repo"] = {"full_name": "stranger/Hello-World"}
    with FakeGitHub(read_only=True) as fake:
        publication = post(GITHUB_API_URL=fake.url, GITHUB_EVENT_PATH=event_file(pull_request_payload))

    assert publication.outcome == "summary only"
    assert "fork" in publication.reason
    assert not publication.unexpected
    assert fake.comments == []


def test_read_only_token_in_the_same_repository_is_told_which_permission_is_missing(post):
    with FakeGitHub(read_only=True) as fake:
        publication = post(GITHUB_API_URL=fake.url)

    assert publication.outcome == "summary only"
    assert "pull-requests: write" in publication.reason


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"SAVEPOINT_GITHUB_TOKEN": ""}, "no token"),
        ({"SAVEPOINT_COMMENT": "false"}, "comment is set to false"),
        ({"GITHUB_ACTIONS": ""}, "not in GitHub Actions"),
        ({"ACT": "true", "GITHUB_API_URL": "https://api.github.com"}, "act run"),
        ({"GITHUB_EVENT_NAME": "schedule"}, "no open pull request"),
    ],
)
def test_without_token_pull_request_or_github_nothing_is_asked_and_nothing_fails(github, post, variables, reason):
    publication = post(**variables)

    assert publication.outcome == "summary only"
    assert reason in publication.reason
    assert not publication.unexpected
    assert github.requests == []


def test_merge_queue_gets_no_comment(github, post, event_file):
    payload = {"merge_group": {"head_sha": "d" * 40, "base_sha": "e" * 40}}
    publication = post(GITHUB_EVENT_NAME="merge_group", GITHUB_EVENT_PATH=event_file(payload))

    assert publication.outcome == "summary only"
    assert "merge queue" in publication.reason


def test_push_finds_the_open_pull_request_of_its_branch(github, post, event_file):
    github.add_pull_request(3, branch="other", sha="c" * 40)
    github.add_pull_request(7, branch="topic", sha="c" * 40)
    publication = post(
        GITHUB_EVENT_NAME="push",
        GITHUB_EVENT_PATH=event_file({"before": "0" * 40}),
        GITHUB_REF_TYPE="branch",
        GITHUB_REF_NAME="topic",
    )

    assert publication.outcome == "comment"


def test_enterprise_server_is_asked_under_its_own_paths(post):
    with FakeGitHub(enterprise=True) as fake:
        publication = post(GITHUB_API_URL=fake.url)

    assert publication.outcome == "comment"
    assert {request.path.split("/")[1] for request in fake.requests} == {"api"}
    assert fake.violations == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", 500, times=99),
        Fault("GET", times=99),
        Fault("POST", 502, times=99),
        Fault("POST", 403, "You have exceeded a secondary rate limit", times=99),
        Fault("POST", 418, "I'm a teapot"),
    ],
    ids=lambda fault: f"{fault.method} {fault.status or 'dropped'}",
)
def test_whatever_github_answers_the_run_gets_a_reason_and_no_exception(github, post, fault):
    github.faults = [fault]
    publication = post()

    assert publication.outcome == "summary only"
    assert publication.unexpected
    assert TOKEN not in publication.reason


def test_unreadable_event_is_a_reason_and_no_exception(github, post, event_file):
    publication = post(GITHUB_EVENT_PATH=event_file({"pull_request": {"number": "7; rm -rf"}}))

    assert publication.outcome == "summary only"
    assert "GITHUB_EVENT_PATH" in publication.reason
    assert github.requests == []


def test_usual_run_asks_github_at_most_four_times(github, post):
    post()
    assert len(github.requests) == 4
    post(red())
    assert len(github.requests) == 7
