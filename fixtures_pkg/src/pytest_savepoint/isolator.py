"""pytest's hooks around what is isolated: each test from its first fixture to its last, and no fixture of wider scope."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_savepoint.climbing import Climber
from pytest_savepoint.worker import Worker

if TYPE_CHECKING:
    from pytest_savepoint.sqlite_worker import SqliteWorker

__all__ = ["Isolator"]

# A fixture of the session outlives the transaction of a module, so what it commits is really committed.
_LAYERED = ("module", "class")


class Isolator:
    """In a process that runs tests: undoes what each did to the database.

    Hooks, not a fixture of every test, which would cost as much as the savepoint.
    """

    def __init__(self, worker: Worker | SqliteWorker, climber: Climber) -> None:
        self._worker = worker
        self._sandbox = worker.sandbox
        self._climber = climber
        self._isolated: pytest.Item | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        self._isolated = None
        result = yield
        # One that has no fixture of its own.
        if hasattr(item, "fixturenames"):
            self._isolate(item)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """What a fixture of wider scope commits is for all its tests, so it does not belong to the test that came first."""
        if fixturedef.scope == "function":
            try:
                self._isolate(request.node)
            except BaseException as error:
                # As pytest itself does; it would not finish a fixture without a result.
                fixturedef.cached_result = (None, None, (error, error.__traceback__))
                raise
            return (yield)
        if self._sandbox.in_gap and fixturedef.scope in _LAYERED:
            return (yield)
        with self._sandbox.paused():
            return (yield)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """What such a fixture commits when it ends is no test's either."""
        if fixturedef.scope != "function" and self._sandbox.test is None and not self._sandbox.layer:
            self._sandbox.listen_now()

    def _isolate(self, item: pytest.Item) -> None:
        """Begin before the first function-scoped fixture of a test, and end after the last."""
        if self._isolated is item:
            return
        self._isolated = item
        isolation = self._worker.isolated(item.nodeid, self._climber.rung)
        isolation.__enter__()
        item.addfinalizer(lambda: isolation.__exit__(None, None, None))
