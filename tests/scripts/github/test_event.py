"""What started the run is read strictly, and everything that is missing is empty."""

from __future__ import annotations

import pytest
from savepoint_ci.github.event import Event, EventError, read_event


def test_pull_request_names_number_head_and_base(environ):
    event = read_event(environ)

    assert (event.pull_request, event.head_sha, event.base_sha) == (7, "a" * 40, "b" * 40)
    assert not event.is_fork


@pytest.mark.parametrize("head", [{"full_name": "stranger/Hello-World"}, None], ids=["fork", "deleted fork"])
def test_pull_request_from_another_repository_is_a_fork_s(environ, event_file, pull_request_payload, head):
    pull_request_payload["pull_request"]["head"]["repo"] = head
    event_file(pull_request_payload)

    assert read_event(environ).is_fork


def test_outside_github_actions_there_is_no_event(environ):
    assert read_event({**environ, "GITHUB_ACTIONS": ""}) == Event()


def test_merge_group_is_compared_with_its_own_base(environ, event_file):
    event_file({"merge_group": {"head_sha": "d" * 40, "base_sha": "e" * 40}})
    event = read_event({**environ, "GITHUB_EVENT_NAME": "merge_group"})

    assert (event.head_sha, event.base_sha, event.pull_request) == ("d" * 40, "e" * 40, None)


def test_push_is_compared_with_what_the_branch_was_before(environ, event_file):
    event_file({"before": "d" * 40})
    push = {**environ, "GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "topic"}
    event = read_event(push)

    assert (event.base_sha, event.head, event.pull_request) == ("d" * 40, "octocat:topic", None)


def test_first_push_of_a_branch_has_no_base(environ, event_file):
    event_file({"before": "0" * 40})
    push = {**environ, "GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "topic"}

    assert read_event(push).base_sha == ""


def test_pushed_tag_belongs_to_no_branch(environ, event_file):
    event_file({"before": "0" * 40})
    push = {**environ, "GITHUB_EVENT_NAME": "push", "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1"}

    assert read_event(push).head == ""


@pytest.mark.parametrize("by", ["event file", "variable"])
def test_act_is_recognised(environ, event_file, pull_request_payload, by):
    event_file({**pull_request_payload, "act": by == "event file"})

    assert read_event({**environ, "ACT": "true" if by == "variable" else ""}).is_act


def test_small_event_file_of_act_is_enough(environ, event_file):
    event_file({"pull_request": {"number": 7}})
    event = read_event(environ)

    assert (event.pull_request, event.head_sha) == (7, "c" * 40)


@pytest.mark.parametrize(
    "payload",
    [
        {"pull_request": {"number": 0}},
        {"pull_request": {"number": "7"}},
        {"pull_request": {"number": 7, "head": {"sha": "; rm -rf /"}}},
        {"pull_request": {"number": 7, "head": {"sha": "a" * 40, "repo": {"full_name": "a/b/../../c"}}}},
        [],
    ],
)
def test_event_that_github_would_not_send_is_refused_with_its_file(environ, event_file, payload):
    event_file(payload)
    with pytest.raises(EventError, match=r"event\.json"):
        read_event(environ)


def test_missing_event_file_leaves_what_the_variables_say(environ):
    event = read_event({**environ, "GITHUB_EVENT_PATH": "nowhere.json"})

    assert (event.name, event.head_sha, event.pull_request) == ("pull_request", "c" * 40, None)
