"""pytest's hooks in each process that runs tests: what was recorded travels with pytest's own reports."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pytest_savepoint.evidence import Fact
from pytest_savepoint.loops.applications import unseen_by_middleware
from pytest_savepoint.loops.frames import code_of
from pytest_savepoint.loops.patches import harmless
from pytest_savepoint.loops.reach import Reach
from pytest_savepoint.loops.watch import Watch

__all__ = ["Witness"]

_LOOP_SETTINGS = ("asyncio_mode", "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
_LATENT = 1000
_LOCAL_TIME = {"today", "now"}
_TABLES = re.compile(r"\b(?:from|join|into|update|table)\s+(?:only\s+)?\"?([\w.]+)", re.IGNORECASE)


class Witness:
    """Records in the process that runs tests, and hands over with each report so that a dying worker takes little along.

    :param hand_over: takes the facts that no report could carry, at the end of the process.
    """

    def __init__(
        self, config: pytest.Config, watch: Watch, isolation: str, hand_over: Callable[[list[Fact]], None]
    ) -> None:
        self._config = config
        self._isolation = isolation
        self._hand_over = hand_over
        self._watch = watch
        self._recorder = watch.recorder
        self._fixtures: dict[str, Fact] = {}
        self._failed_fixture: Fact | None = None
        self._finished: list[str] = []
        self._comparison: Fact | None = None
        self._compared: tuple[object, ...] = ()
        self._open_before: list[Fact] = []
        self._item: pytest.Item | None = None

    def pytest_unconfigure(self) -> None:
        self._watch.stop()

    # -- the suite ------------------------------------------------------------------------------------------------
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._recorder.note(
            "configuration",
            settings={name: self._ini(name) for name in _LOOP_SETTINGS},
            event_loop=self._event_loop_override(session),
            versions=dict(distributions(self._config)),
            isolation=self._isolation,
        )

    def _ini(self, name: str) -> str | None:
        try:
            value = self._config.getini(name)
        except (KeyError, ValueError):
            return None  # the plugin that declares it is not there
        return str(value) if value else None

    @harmless
    def _event_loop_override(self, session: pytest.Session) -> Fact | None:
        modules = {item.parent: item for item in session.items}
        for item in modules.values():
            for definition in session._fixturemanager.getfixturedefs("event_loop", item) or ():  # noqa: SLF001 # no public way
                fixture = self._watch.fixture("event_loop", definition.scope, definition.func)
                if fixture is not None:
                    return fixture
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._recorder.test = self._recorder.when = ""
        self._note_latent(getattr(session, "items", []))
        self._watch.threads.note_left()
        self._watch.growth.note()
        self._hand_over(self._recorder.take())

    @harmless
    def _note_latent(self, items: list[pytest.Item]) -> None:
        """What was left behind, with the tests that would meet it in another order."""
        for leak in self._watch.state.leaks:
            tests = [
                item.nodeid for item in items[:_LATENT] if item.nodeid != leak["test"] and self._would_meet(item, leak)
            ]
            if tests:
                self._recorder.note("latent", leak=dict(leak), tests=tests[:20])

    def _would_meet(self, item: pytest.Item, leak: Fact) -> bool:
        names = getattr(item, "fixturenames", ())
        fixture = leak.get("fixture")
        if fixture is not None and fixture["name"] in names:
            return False
        reach = self._watch.reached([getattr(item, "function", None)]) or Reach()
        if leak["kind"] == "context_leaked":
            return leak["name"] in reach.variables
        return (
            leak["kind"] == "logging_disabled" and "caplog" in names and not reach.loggers.isdisjoint(leak["loggers"])
        )

    # -- fixtures and phases --------------------------------------------------------------------------------------
    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        name = fixturedef.argname
        fixture = self._watch.fixture(name, fixturedef.scope, fixturedef.func)
        before = None
        if fixture is not None:
            self._fixtures[name] = fixture
            before = self._watch.state.picture()
        try:
            value = yield
        except BaseException:
            # The innermost comes first; the fixtures that requested it fail after it with the same error.
            self._failed_fixture = self._failed_fixture or self._watch.with_source(fixture, fixturedef.func)
            raise
        finally:
            if before is not None:
                self._watch.state.fixture_done(before, lambda: self._watch.with_source(fixture, fixturedef.func))
        if name.endswith(("_scoped_runner", "event_loop")):
            self._watch.adopt_runner(value, fixturedef.scope)
        return value

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._finished.append(fixturedef.argname)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._recorder.test, self._recorder.when = item.nodeid, "setup"
        self._failed_fixture = self._comparison = None
        self._compared = ()
        self._open_before = self._watch.statements.open_transactions()
        self._finished.clear()
        self._item = item
        self._watch.begin_test(getattr(item, "function", None))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self._recorder.when = "call"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._recorder.when = "teardown"
        self._finished.clear()

    # -- outcomes -------------------------------------------------------------------------------------------------
    @harmless
    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        """Look at what a failing assertion compares; pytest shows it as it would without us."""
        self._comparison = {
            "op": op,
            "left": type(left).__name__,
            "right": type(right).__name__,
            "equal": _equal(left, right),
            "reordered": _reordered(left, right),
            "shown": [_short(left), _short(right)],
        }
        self._compared = (left, right)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        seen: dict[str, Any] = {}
        if call.excinfo is not None:
            seen["path"], seen["line"] = self._raising_line(call.excinfo)
            if report.failed:
                try:
                    self._record_failure(item, call.excinfo.value)
                except Exception as error:  # noqa: BLE001 # to look at a failure must never become one
                    self._recorder.note("not_recorded", error=repr(error))
        if call.when == "call":
            self._watch.caches.look()
            # Where the local zone is UTC, as on most CI machines, there is nothing to compare.
            if not report.failed and time.localtime().tm_gmtoff:
                self._note_local_time(item)
        elif call.when == "teardown":
            self._watch.growth.look(item.nodeid)
            self._watch.state.end(lambda: self._watch.function(getattr(item, "function", None)))
        facts = self._recorder.take()
        if facts:
            seen["facts"] = facts
        if seen:
            report.savepoint = seen
        return report

    @harmless
    def _record_failure(self, item: pytest.Item, error: BaseException) -> None:
        self._watch.blocking.settle()
        self._watch.connections.note_waiting()
        values = dict(getattr(item, "funcargs", None) or {})
        statements = self._watch.statements.of_test(item.nodeid)
        definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        makers = [each[-1].func for name, each in definitions.items() if name in values]
        reach = self._watch.reached([getattr(item, "function", None), *values.values(), *makers]) or Reach()
        tables = {table.lower() for each in statements for table in _TABLES.findall(each["sql"])}
        self._recorder.note(
            "failure",
            function=self._watch.function(getattr(item, "function", None)),
            failed_fixture=self._failed_fixture,
            missing_fixture=self._missing_fixture(error),
            finished=list(self._finished),
            fixtures={name: self._fixture_value(item, name, value) for name, value in values.items()},
            reached=reach.as_fact(self._watch.caller),
            outdated=self._watch.caches.outdated(item.nodeid, reach.functions),
            unseen=unseen_by_middleware(
                reach.functions, self._watch.failures.applications(error, values), self._watch.caller
            ),
            comparison=self._comparison,
            clock=_clock(),
            statements=statements,
            committed=self._watch.statements.committed(tables, item.nodeid),
            made=self._watch.tasks.made_in(item.nodeid),
            time=time.monotonic(),
            open_before=self._open_before,
            inserted_before=self._watch.statements.inserted_before(tables, item.nodeid),
            definitions=self._watch.statements.definitions(),
            unset_fixtures=self._unset_fixtures(item, values) if self._failed_fixture else [],
            **self._watch.failures.describe(error, values, self._compared),
        )
        self._compared = ()

    def _fixture_value(self, item: pytest.Item, name: str, value: Any) -> Fact:
        info = getattr(item, "_fixtureinfo", None)
        definitions = info.name2fixturedefs.get(name, ()) if info is not None else ()
        function = definitions[-1].func if definitions else None
        return {
            "fixture": self._watch.with_source(self._fixtures.get(name), function),
            **self._watch.failures.describe_value(value),
        }

    @harmless
    def _note_local_time(self, item: pytest.Item) -> None:
        """A test that asks for the local date, where the database that it asks too has another zone."""
        code = code_of(getattr(item, "function", None))
        if code is None or _LOCAL_TIME.isdisjoint(code.co_names):
            return
        clock = _clock()
        elsewhere = [zone for zone in self._watch.connections.time_zones() if _offset(zone) != clock["offset"]]
        dated = self._watch.statements.dated(item.nodeid) if elsewhere else None
        if dated is not None:
            function = self._watch.function(getattr(item, "function", None))
            self._recorder.note("local_time", function=function, clock=clock, zone=elsewhere[0], sql=dated[:160])

    def _unset_fixtures(self, item: pytest.Item, values: dict[str, Any]) -> list[Fact]:
        """The fixtures of a test that had not had their turn when one failed."""
        definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
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

    def _missing_fixture(self, error: BaseException) -> Fact | None:
        name, stack = getattr(error, "argname", None), getattr(error, "fixturestack", None)
        if not isinstance(name, str) or not stack:
            return None
        return {"name": name, "requested_by": self._watch.function(stack[-1])}

    def _raising_line(self, excinfo: pytest.ExceptionInfo[BaseException]) -> tuple[str | None, int | None]:
        for entry in reversed(excinfo.traceback):
            filename = str(entry.path)
            if self._watch.caller.owns(filename):
                return self._watch.caller.path(filename), entry.lineno + 1
        return None, None

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        self._watch.unawaited.note(warning_message, nodeid, self._reachable)

    def _reachable(self) -> list[Any]:
        """The functions that the latest test can get at."""
        makers = getattr(getattr(self._item, "_fixtureinfo", None), "name2fixturedefs", {}).values()
        things = [getattr(self._item, "function", None), *(each[-1].func for each in makers)]
        return (self._watch.reached(things) or Reach()).functions


def _clock() -> Fact:
    """The local zone against UTC, as dates and seconds."""
    utc = datetime.now(timezone.utc)
    local = utc.astimezone()
    offset = local.utcoffset()
    return {
        "zone": str(local.tzinfo),
        "offset": offset.total_seconds() if offset is not None else 0.0,
        "local_date": local.date().isoformat(),
        "utc_date": utc.date().isoformat(),
    }


def _offset(zone: str) -> float | None:
    """A zone's seconds from UTC at this moment."""
    offset = datetime.now(ZoneInfo(zone)).utcoffset()
    return offset.total_seconds() if offset is not None else None


def _short(value: object) -> str | None:
    """A number or a short text as it stands in an assertion; longer things may hold anything."""
    return repr(value) if isinstance(value, int | float) or (isinstance(value, str) and len(value) < 60) else None


def _equal(left: object, right: object) -> bool:
    try:
        return bool(left == right)
    except Exception:  # noqa: BLE001 # a comparison of the caller's may do anything
        return False


def _reordered(left: object, right: object) -> bool:
    """Whether two sequences hold the same things in another order."""
    if not isinstance(left, list | tuple) or not isinstance(right, list | tuple) or len(left) != len(right):
        return False
    try:
        rest = list(right)
        for each in left:
            rest.remove(each)
    except Exception:  # noqa: BLE001 # not the same things, or a comparison of the caller's
        return False
    return not _equal(list(left), list(right))


def distributions(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """The plugins of this run with their versions."""
    for _, distribution in config.pluginmanager.list_plugin_distinfo():
        yield distribution.project_name, distribution.version
