from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from fake_actions import zipped
from fake_github import REPOSITORY, TOKEN, FakeGitHub
from pytest_savepoint.settings import Secret
from savepoint_ci.github.client import Client
from savepoint_ci.history.fetch import Fetched, fetch_history
from savepoint_ci.history.model import History, history_bytes

NAME = "savepoint-history-test"


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as fake:
        yield fake
    assert fake.violations == []


@pytest.fixture
def leave(github: FakeGitHub) -> Callable[..., None]:
    """Let a run leave a history; runs are told apart by the number of runs in it."""

    def leave(runs: int, *, archive: bytes | None = None, name: str = NAME, **run: Any) -> None:
        kept = archive or zipped(history_json_gz=history_bytes(History(runs=runs)))
        github.actions.add_artifact(github.actions.add_run(**run), name, kept)

    return leave


@pytest.fixture
def fetch(github: FakeGitHub) -> Callable[..., Fetched | None]:
    client = Client(github.url, Secret(TOKEN), sleep=lambda _: None)
    return partial(fetch_history, client, REPOSITORY, name=NAME, default_branch="main", base="")
