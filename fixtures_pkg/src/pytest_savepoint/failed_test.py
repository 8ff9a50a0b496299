"""What pytest knows of a test when it fails: its fixtures, what its assertion compared, and which fixture gave up."""

from __future__ import annotations

import functools
import os
import re
import time
from typing import Any

import pytest

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.applications import unseen_by_middleware
from pytest_savepoint.loops.comparison import compared
from pytest_savepoint.loops.failures import chain_of
from pytest_savepoint.loops.patches import harmless
from pytest_savepoint.loops.reach import Reach
from pytest_savepoint.loops.watch import Watch

__all__ = ["FailedTest"]

_GIVES_LOOP_SCOPE = re.compile(r"\basyncio\(.*\bloop_scope\b")
_GIVES_TO_ANYIO = re.compile(r"\bmark\.anyio\b")
_TABLES = re.compile(r"\b(?:from|join|into|update|table)\s+(?:only\s+)?\"?([\w.]+)", re.IGNORECASE)


class FailedTest:
    """Follows the test that runs, and describes its failure to the recorder; one object serves all tests of a process."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._fixtures: dict[str, Fact] = {}
        self._culprit: Fact | None = None
        self._comparison: Fact | None = None
        self._compared: tuple[object, ...] = ()
        self._open_before: list[Fact] = []

    def begin(self) -> None:
        """A test starts."""
        self._culprit = self._comparison = None
        self._compared = ()
        self._open_before = self._watch.history.open_transactions()

    def fixture_known(self, name: str, fixture: Fact) -> None:
        """A fixture of the caller is set up."""
        self._fixtures.pop(name, None)  # so that their order is that of their latest set-ups
        self._fixtures[name] = fixture

    def fixture_gave_up(self, fixture: Fact | None, function: Any) -> None:
        """A fixture raised; the innermost comes first, and those that requested it fail after it with the same error."""
        self._culprit = self._culprit or self._watch.with_source(fixture, function)

    @harmless
    def assertion_failed(self, op: str, left: object, right: object) -> None:
        self._comparison = compared(op, left, right)
        self._compared = (left, right)

    def record(self, item: pytest.Item, error: BaseException) -> None:
        """Note the failure with all that is known of it; never raises."""
        try:
            self._record(item, error)
        except Exception as mistake:  # noqa: BLE001 # to look at a failure must never become one
            self._watch.recorder.note("not_recorded", error=repr(mistake))

    def _record(self, item: pytest.Item, error: BaseException) -> None:
        watch = self._watch
        watch.blocking.settle()
        watch.checkouts.note_waiting()
        function = getattr(item, "function", None)
        values = dict(getattr(item, "funcargs", None) or {})
        definitions = _definitions(item)
        makers = [each[-1].func for name, each in definitions.items() if name in values]
        reach = watch.reached([function, *values.values(), *makers]) or Reach()
        statements = watch.history.of_test(item.nodeid)
        tables = {table.lower() for each in statements for table in _TABLES.findall(each["sql"])}
        watch.recorder.note(
            "failure",
            function=watch.function(function),
            failed_fixture=self._culprit,
            missing_fixture=self._missing_fixture(error, function),
            # pytest forgets what a fixture gave when that is over.
            finished=[name for name in values if name in definitions and definitions[name][-1].cached_result is None],
            set_up=[name for name in self._fixtures if name in values],
            fixtures={name: self._fixture_value(item, name, value) for name, value in values.items()},
            loop_marker=self._marker(item, "asyncio", _GIVES_LOOP_SCOPE),
            anyio_marker=self._marker(item, "anyio", _GIVES_TO_ANYIO),
            unset_fixtures=self._unset_fixtures(item, values) if self._culprit else [],
            reached=reach.as_fact(watch.caller),
            outdated=watch.caches.outdated(item.nodeid, reach.functions),
            unseen=unseen_by_middleware(reach.functions, watch.failures.applications(error, values), watch.caller),
            comparison=self._comparison,
            stamps=self._stamps(error, values),
            clock=watch.local_time.clock(),
            time=time.monotonic(),
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            made=watch.tasks.made_in(item.nodeid),
            open_before=self._open_before,
            statements=statements,
            committed=watch.history.committed(tables, item.nodeid),
            inserted_before=watch.history.inserted_before(tables, item.nodeid),
            rivals=watch.keys.rivals(item.nodeid, chain_of(error)),
            deadlocked=watch.history.deadlocked(chain_of(error)),
            definitions=watch.history.definitions(),
            **watch.failures.describe(
                error, values, self._compared, functools.partial(watch.keys.updated, item.nodeid)
            ),
        )
        self._compared = ()

    @harmless
    def _stamps(self, error: BaseException, values: dict[str, Any]) -> list[Fact] | None:
        """Where the models say that an update fills in the time, if the failing assertion compared times."""
        if self._comparison is None or self._comparison["left"] != "datetime":
            return None
        stamped = self._watch.failures.stamped(error, values)
        lines = [(fact, self._watch.line_in(kind, re.compile(rf"^\s*{name}\s*[:=]"))) for kind, name, fact in stamped]
        return [{**fact, "site": site} for fact, site in lines if site is not None]

    def _fixture_value(self, item: pytest.Item, name: str, value: Any) -> Fact:
        definitions = _definitions(item).get(name, ())
        function = definitions[-1].func if definitions else None
        reach = self._watch.reached([function])
        return {
            "fixture": self._watch.with_source(self._fixtures.get(name), function),
            "environment": reach.environment() if reach is not None else [],
            **self._watch.failures.describe_value(value),
        }

    def _marker(self, item: pytest.Item, name: str, pattern: re.Pattern[str]) -> Fact | None:
        """The line on a test, its class or its module that marks it in this way."""
        things = (getattr(node, "obj", None) for node, _ in item.iter_markers_with_node(name))
        lines = (self._watch.line_in(thing, pattern) for thing in things if thing is not None)
        return next((line for line in lines if line is not None), None)

    def _unset_fixtures(self, item: pytest.Item, values: dict[str, Any]) -> list[Fact]:
        """The fixtures of a test that had not had their turn when one failed."""
        definitions = _definitions(item)
        waiting = [
            definitions[name][-1]
            for name in getattr(item, "fixturenames", ())
            if name in definitions and name not in values
        ]
        facts = [
            self._watch.with_source(self._watch.fixture(each.argname, each.scope, each.func), each.func)
            for each in waiting
        ]
        return [each for each in facts if each is not None]

    def _missing_fixture(self, error: BaseException, test: Any) -> Fact | None:
        """The name that nobody defines, and who asked for it: the fixture that was being set up, else the test."""
        name, stack = getattr(error, "argname", None), getattr(error, "fixturestack", ())
        if not isinstance(name, str):
            return None
        return {"name": name, "requested_by": self._watch.function(stack[-1].func if stack else test)}


def _definitions(item: pytest.Item) -> dict[str, Any]:
    """The definitions of a test's fixtures by name; the last of each is the one that counts."""
    return getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", None) or {}
