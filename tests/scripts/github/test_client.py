"""Limits that GitHub sets are honoured, faults that pass are waited for, and both within a bounded time."""

from __future__ import annotations

import logging
import time

import pytest
from fake_github import REPOSITORY, TOKEN, Fault
from pytest_savepoint.settings import Secret
from savepoint_ci.github.client import MAX_REQUESTS
from savepoint_ci.github.errors import GitHubError, UnsureError

COMMENTS = f"/repos/{REPOSITORY}/issues/7/comments"


@pytest.fixture
def client(github, make_client):
    return make_client(github.url, Secret(TOKEN))


@pytest.mark.parametrize("status", [403, 429])
def test_retry_after_is_waited_for_exactly(github, client, clock, status):
    github.faults = [Fault("POST", status, "You have exceeded a secondary rate limit", {"Retry-After": "7"})]
    client.post(COMMENTS, {"body": "hello"})

    assert clock.slept == [7]
    assert github.bodies() == ["hello"]


def test_secondary_limit_without_retry_after_waits_a_minute(github, client, clock):
    github.faults = [Fault("POST", 403, "You have exceeded a secondary rate limit. Please wait")]
    client.post(COMMENTS, {"body": "hello"})

    assert clock.slept == [60]


def test_primary_limit_waits_until_its_reset_by_github_s_clock(github, client, clock):
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
    github.faults = [Fault("GET", 403, "API rate limit exceeded", headers)]
    client.get(COMMENTS)

    assert len(clock.slept) == 1
    assert 29 <= clock.slept[0] <= 32


def test_limit_that_lasts_longer_than_the_total_time_is_not_waited_for(github, client, clock):
    github.faults = [Fault("GET", 429, "limit", {"Retry-After": "3600"})]
    with pytest.raises(GitHubError, match="429"):
        client.get(COMMENTS)

    assert clock.slept == []


@pytest.mark.parametrize("fault", [Fault("GET", 503, times=2), Fault("GET", times=2)], ids=["503", "dropped"])
def test_fault_that_passes_is_tried_again_with_growing_waits(github, client, clock, fault):
    github.faults = [fault]

    assert client.get(COMMENTS) == []
    assert len(clock.slept) == 2
    assert all(0 <= wait <= 20 for wait in clock.slept)


def test_silent_server_is_left_after_the_read_time(github, make_client):
    github.faults = [Fault("GET", 500, silence=10)]
    client = make_client(github.url, Secret(TOKEN), read_seconds=1)
    started = time.monotonic()

    assert client.get(COMMENTS) == []
    assert time.monotonic() - started < 10


def test_answer_that_drips_is_left_when_the_total_time_is_over(github, make_client):
    github.faults = [Fault("GET", done=True, drip=True, times=99)]
    github.add_comment("hello")
    client = make_client(github.url, Secret(TOKEN), seconds=1)
    started = time.monotonic()
    with pytest.raises(GitHubError):
        client.get(COMMENTS)

    assert time.monotonic() - started < 20


def test_all_waits_together_stay_within_the_total_time(github, client, clock):
    github.faults = [Fault("GET", 429, "limit", {"Retry-After": "50"}, times=99)]
    with pytest.raises(GitHubError):
        client.get(COMMENTS)

    assert sum(clock.slept) <= 120


@pytest.mark.parametrize("fault", [Fault("POST", 502), Fault("POST", done=True)], ids=["502", "dropped"])
def test_creating_is_never_repeated_when_it_may_have_been_done(github, client, fault):
    github.faults = [fault]
    with pytest.raises(UnsureError):
        client.post(COMMENTS, {"body": "hello"})

    assert len(github.writes) == 1


def test_plain_refusal_is_not_tried_again(github, client, clock):
    github.faults = [Fault("GET", 403, "Resource not accessible by integration")]
    with pytest.raises(GitHubError, match="Resource not accessible") as refusal:
        client.get(COMMENTS)

    assert refusal.value.status == 403
    assert clock.slept == []


def test_number_of_requests_is_bounded(github, make_client):
    client = make_client(github.url, Secret("wrong"))
    for _ in range(MAX_REQUESTS):
        with pytest.raises(GitHubError, match="401"):
            client.get(COMMENTS)
    with pytest.raises(GitHubError, match="not enough"):
        client.get(COMMENTS)

    assert len(github.requests) == MAX_REQUESTS


def test_next_page_on_another_host_never_sees_the_token(github, client):
    github.next_page_host = "localhost:9"
    for number in range(101):
        github.add_comment(str(number))
    with pytest.raises(GitHubError, match="another host"):
        list(client.pages(COMMENTS))


def test_netrc_does_not_replace_the_token(github, client, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    assert client.get(COMMENTS) == []


def test_token_is_in_no_log_exception_or_repr(github, client, caplog):
    caplog.set_level(logging.DEBUG)
    github.faults = [Fault("GET", times=99), Fault("POST", 500)]
    texts = [repr(client), repr(vars(client))]
    for ask in (lambda: client.get(COMMENTS), lambda: client.post(COMMENTS, {"body": "x"})):
        with pytest.raises(GitHubError) as caught:
            ask()
        texts += [str(caught.value), repr(caught.value), str(caught.getrepr(showlocals=False))]

    assert all(TOKEN not in text for text in [*texts, caplog.text])


def test_proxy_of_the_environment_is_used(github, make_client, monkeypatch):
    """The fake plays the proxy: a proxy is asked with the whole address."""
    proxy = github.url
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    client = make_client("http://api.example.invalid", Secret(TOKEN))

    assert client.get(COMMENTS) == []
    assert github.requests[-1].headers["host"] == "api.example.invalid"
