from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import REPOSITORY, TOKEN, FakeGitHub
from pytest_savepoint.settings import read_settings
from savepoint_ci.github.client import Client
from savepoint_ci.github.publish import Publication, publish
from savepoint_ci.report.model import Report, Run


@pytest.fixture(autouse=True, scope="session")
def _no_proxy_is_looked_for() -> Iterator[None]:
    """A proxy of this machine is not between a test and the fake, and to look for one takes a sixth of each request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield


class Clock:
    """Time that passes at once when somebody sleeps, and remembers for how long they did."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def now(self) -> float:
        return time.monotonic() + sum(self.slept)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as fake:
        yield fake
    assert fake.violations == []


@pytest.fixture
def make_client(clock: Clock) -> Callable[..., Client]:
    return functools.partial(Client, sleep=clock.sleep, clock=clock.now)


@pytest.fixture
def event_file(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    def write(payload: dict[str, Any]) -> str:
        file = tmp_path / "event.json"
        file.write_text(json.dumps(payload))
        return str(file)

    return write


@pytest.fixture
def pull_request_payload() -> dict[str, Any]:
    repository = {"full_name": REPOSITORY}
    return {
        "pull_request": {
            "number": 7,
            "head": {"ref": "topic", "sha": "a" * 40, "repo": repository},
            "base": {"ref": "main", "sha": "b" * 40, "repo": repository},
        }
    }


@pytest.fixture
def environ(event_file: Any, pull_request_payload: dict[str, Any], github: FakeGitHub) -> dict[str, str]:
    """The runner's variables on a pull request of the fake."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": event_file(pull_request_payload),
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_SHA": "c" * 40,
        "GITHUB_API_URL": github.url,
        "GITHUB_RUN_ID": "12345",
        "SAVEPOINT_GITHUB_TOKEN": TOKEN,
    }


@pytest.fixture
def post(environ: dict[str, str], make_client: Callable[..., Client], tmp_path: Path) -> Callable[..., Publication]:
    """Publish a report as the comment step does."""

    def post(report: Report | None = None, **more: str) -> Publication:
        variables = {**environ, **more}
        report = report or Report(result="green", counts={"total": 3, "passed": 3}, run=Run(id="1", commit="a" * 40))
        settings = read_settings(tmp_path, environ=variables)
        return publish(report, settings=settings, environ=variables, make_client=make_client)

    return post
