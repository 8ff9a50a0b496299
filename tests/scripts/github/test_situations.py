"""Every situation, however its run came about and whatever fails at whichever request: one right comment, or none."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_actions import zipped
from fake_github import REPOSITORY, TOKEN, FakeGitHub, Fault
from msgspec.structs import replace
from pytest_savepoint.settings import read_settings
from report_samples import SAMPLES
from savepoint_ci.github import publish as publish_module
from savepoint_ci.github.client import Client
from savepoint_ci.github.names import comment_key, run_url
from savepoint_ci.github.publish import Publication, publish, publish_tested_run
from savepoint_ci.report.markdown import comment_body
from savepoint_ci.report.model import Report, report_json

COMMIT = "f" * 40
SITUATIONS = sorted(SAMPLES)
MOST_REQUESTS = 7
"""The longest way to a comment: a fork's pull request, its artifacts, one of them, who we are, look, write, look."""


class Killed(BaseException):
    """The poster's process ended in the middle."""


@dataclass(frozen=True)
class Origin:
    """How a run came about: its event, what its token may do, and whether a comment belongs to it."""

    name: str
    event: str
    comments: bool = True
    read_only: bool = False
    token: str = TOKEN
    posted_before: bool = False


ORIGINS = (
    Origin("pull request", "pull_request"),
    Origin("push to a branch with a pull request", "push"),
    Origin("fork, by its own token", "pull_request", comments=False, read_only=True),
    Origin("fork, by workflow_run", "workflow_run"),
    Origin("merge queue", "merge_group", comments=False),
    Origin("run again", "pull_request", posted_before=True),
    Origin("no token", "pull_request", comments=False, token=""),
)

FAULTS: dict[str, Callable[[int], Fault]] = {
    "refused with 502": lambda after: Fault("ANY", 502, after=after),
    "asked to wait": lambda after: Fault("ANY", 429, "slow down", {"retry-after": "7"}, after=after),
    "secondary limit": lambda after: Fault("ANY", 403, "You have exceeded a secondary rate limit", after=after),
    "dropped": lambda after: Fault("ANY", after=after),
    "silent, then dropped": lambda after: Fault("ANY", silence=0.02, after=after),
    "done, and the answer lost": lambda after: Fault("ANY", done=True, after=after),
}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeGitHub]:
    """One server for all: to start one takes longer than a comment."""
    with FakeGitHub() as fake:
        yield fake


@pytest.fixture(scope="module")
def unchecked() -> Iterator[FakeGitHub]:
    """The same for requests that the tests of all situations have checked already."""
    with FakeGitHub(checked=False) as fake:
        yield fake


class Poster:
    """A run's comment step against the fake, as often as one likes."""

    def __init__(self, github: FakeGitHub, origin: Origin, report: Report, folder: Path) -> None:
        self.github, self.origin, self.folder = github, origin, folder
        self.reset()
        github.pull_requests.clear()
        github._read_only = origin.read_only
        github.add_pull_request(7, branch="topic", sha=COMMIT, owner="stranger" if "fork" in origin.name else "octocat")
        head = {"full_name": "stranger/Hello-World" if "fork" in origin.name else REPOSITORY}
        run = github.actions.add_run(event="pull_request", branch="topic", sha=COMMIT, repository=head["full_name"])
        self.report = replace(report, run=replace(report.run, id=str(run["id"]), commit=COMMIT, repository=REPOSITORY))
        self.environ = {
            "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": origin.event, "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SHA": COMMIT, "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "topic", "GITHUB_API_URL": github.url,
            "GITHUB_RUN_ID": str(run["id"]), "SAVEPOINT_GITHUB_TOKEN": origin.token,
            "GITHUB_EVENT_PATH": self._event(run, head),
        }  # fmt: skip
        if origin.event == "workflow_run":
            github.actions.add_artifact(run, "savepoint", zipped(report_json=report_json(self.report)))

    def reset(self) -> None:
        """Nothing was posted yet, or what the first attempt did."""
        for kept in (self.github.comments, self.github.requests, self.github.faults):
            kept.clear()
        if self.origin.posted_before:
            self.github.add_comment("<!-- savepoint:default -->\nof the first attempt")

    def _event(self, run: dict[str, Any], head: dict[str, str]) -> str:
        payload = {
            "pull_request": {"pull_request": {
                "number": 7, "head": {"sha": COMMIT, "repo": head}, "base": {"sha": "b" * 40, "repo": {"full_name": REPOSITORY}},
            }},
            "merge_group": {"merge_group": {"head_sha": COMMIT, "base_sha": "b" * 40}},
            "push": {"before": "0" * 40},
            "workflow_run": {"workflow_run": run},
        }[self.origin.event]  # fmt: skip
        file = self.folder / "event.json"
        file.write_text(json.dumps(payload))
        return str(file)

    def post(self, *, killed_at: int = 0) -> Publication | None:
        """Post; the process is killed when it has sent so many requests, and then there is no answer at all."""
        sent = itertools.count(1)

        class Mortal(Client):
            def _once(self, asked: Any) -> Any:
                answer = super()._once(asked)
                if next(sent) == killed_at:
                    raise Killed
                return answer

        clock = [0.0]
        settings = read_settings(self.folder, environ=self.environ)
        given = {
            "settings": settings,
            "environ": self.environ,
            "make_client": lambda url, token: Mortal(url, token, sleep=clock.append, clock=lambda: sum(clock)),
        }
        try:
            if self.origin.event == "workflow_run":
                return publish_tested_run("savepoint", **given)
            return publish(self.report, **given)
        except Killed:
            return None

    def check(self) -> None:
        """One comment with exactly this report, or none where none belongs."""
        assert self.github.bodies() == ([self.body] if self.origin.comments else [])
        assert self.github.violations == []

    @functools.cached_property
    def body(self) -> str:
        return comment_body(self.report, **self.named())

    def named(self) -> dict[str, str]:
        """What this run is called in its comment."""
        key = comment_key(read_settings(self.folder, environ=self.environ), self.environ)
        return {"key": key, "run_url": run_url(self.environ)}


@pytest.mark.parametrize("origin", ORIGINS, ids=lambda origin: origin.name)
@pytest.mark.parametrize(
    "situation", [pytest.param(each, marks=pytest.mark.e2e) if each == "huge" else each for each in SITUATIONS]
)
def test_one_right_comment_or_none(server, tmp_path, situation, origin):
    poster = Poster(server, origin, SAMPLES[situation], tmp_path)
    publication = poster.post()
    assert (publication.outcome == "comment") == origin.comments
    poster.check()
    assert len(server.requests) <= MOST_REQUESTS


COMMENTING = [origin for origin in ORIGINS if origin.comments]


@pytest.mark.e2e
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("origin", COMMENTING, ids=lambda origin: origin.name)
def test_fault_at_any_request_leaves_one_right_comment(unchecked, tmp_path, origin, fault):
    for number in range(MOST_REQUESTS):
        poster = Poster(unchecked, origin, SAMPLES["green"], tmp_path)
        unchecked.faults.append(FAULTS[fault](number))
        assert poster.post().outcome == "comment"
        poster.check()


@pytest.mark.parametrize("origin", COMMENTING, ids=lambda origin: origin.name)
def test_poster_killed_at_any_request_leaves_at_most_one_comment_and_the_next_one_is_right(unchecked, tmp_path, origin):
    for number in range(1, MOST_REQUESTS + 1):
        poster = Poster(unchecked, origin, SAMPLES["green"], tmp_path)
        poster.post(killed_at=number)
        assert len(unchecked.bodies()) <= 1
        poster.post()
        poster.check()


@pytest.mark.e2e
@pytest.mark.parametrize("situation", SITUATIONS)
def test_fault_at_any_request_spoils_no_situation_however_its_run_came_about(
    unchecked, tmp_path, monkeypatch, situation
):
    # The kinds of faults take turns; the tests above put every one of them to the green situation.
    turn = SITUATIONS.index(situation)
    for origin in ORIGINS:
        poster = Poster(unchecked, origin, SAMPLES[situation], tmp_path)
        # Drawing is the same every time, and takes longer than all the rest.
        drawn = functools.cache(lambda limit: comment_body(poster.report, limit=limit, **poster.named()))  # noqa: B023
        monkeypatch.setattr(publish_module, "comment_body", lambda *_, limit, **__: drawn(limit))  # noqa: B023
        poster.post()
        asked = len(unchecked.requests)
        for number in range(asked):
            fault = list(FAULTS.values())[(turn + number) % len(FAULTS)]
            poster.reset()
            unchecked.faults.append(fault(number))
            poster.post()
            poster.check()
        if asked:
            poster.reset()
            poster.post(killed_at=1 + turn % asked)
            assert len(unchecked.bodies()) <= origin.comments
            poster.post()
            poster.check()


@pytest.mark.parametrize("status", [500, 0])
@pytest.mark.parametrize("origin", COMMENTING, ids=lambda origin: origin.name)
def test_outage_is_a_reason_and_no_exception(unchecked, tmp_path, origin, status):
    poster = Poster(unchecked, origin, SAMPLES["green"], tmp_path)
    before = unchecked.bodies()
    unchecked.faults = [Fault("GET", status, times=999)]
    publication = poster.post()
    assert publication.outcome == "summary only"
    assert publication.reason
    assert unchecked.bodies() == before
