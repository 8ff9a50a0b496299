"""pytest's hooks in each process that runs tests: what was recorded travels with pytest's own reports."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from pytest_savepoint.evidence import Fact
from pytest_savepoint.failed_report import add_words
from pytest_savepoint.failed_test import FailedTest
from pytest_savepoint.latent import note_latent
from pytest_savepoint.loops.patches import harmless
from pytest_savepoint.loops.reach import Reach
from pytest_savepoint.loops.watch import Watch
from pytest_savepoint.queries import Queries

__all__ = ["Witness", "distributions"]

_LOOP_SETTINGS = ("asyncio_mode", "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")


class Witness:
    """Records in the process that runs tests, and hands over with each report so that a dying worker takes little along.

    :param hand_over: takes the facts that no report carries, such as those of the end of the process.
    :param attaches: whether reports carry facts; reading them costs more than an empty test has.
    """

    def __init__(
        self,
        config: pytest.Config,
        watch: Watch,
        isolation: str,
        queries: Queries,
        hand_over: Callable[[list[Fact]], None],
        *,
        attaches: bool = True,
    ) -> None:
        self._config = config
        self._isolation = isolation
        self._queries = queries
        self._hand_over = hand_over
        self._attaches = attaches
        self._watch = watch
        self._recorder = watch.recorder
        self._failed = FailedTest(watch)
        watch.left.reachable = self._reachable
        self._item: pytest.Item | None = None
        self._function: Any = None

    def pytest_unconfigure(self) -> None:
        self._watch.stop()
        self._queries.stop()

    # -- the suite ------------------------------------------------------------------------------------------------
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._recorder.note(
            "configuration",
            settings={name: self._ini(name) for name in _LOOP_SETTINGS},
            event_loop=self._event_loop_override(session),
            versions=dict(distributions(self._config)),
            isolation=self._isolation,
            seed=getattr(self._config.option, "randomly_seed", None),
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
        note_latent(self._watch, getattr(session, "items", []))
        self._watch.threads.note_left()
        self._watch.growth.note()
        self._hand_over(self._recorder.take())

    # -- fixtures and phases --------------------------------------------------------------------------------------
    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        name = fixturedef.argname
        fixture = self._watch.fixture(name, fixturedef.scope, fixturedef.func)
        before = None
        if fixture is not None:
            self._failed.fixture_known(name, fixture)
            before = self._watch.state.picture()
        # A test may ask for one by request.getfixturevalue().
        caller, run_already = self._watch.caller, self._watch.caller.fixtures_run
        caller.fixtures_run = True
        try:
            value = yield
        except BaseException:
            self._failed.fixture_gave_up(fixture, fixturedef.func)
            raise
        finally:
            caller.fixtures_run = run_already
            if before is not None:
                function = fixturedef.func
                describe = functools.partial(self._watch.with_source, fixture, function)
                self._watch.state.fixture_done(before, lambda: self._watch.with_setters(describe(), function))
        if name.endswith(("_scoped_runner", "event_loop")):
            self._watch.adopt_runner(value, fixturedef.scope)
        return value

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._recorder.test, self._recorder.when = item.nodeid, "setup"
        self._failed.begin()
        self._queries.begin()
        called = getattr(item, "obj", None)
        self._item, self._function = item, getattr(called, "__func__", called)
        self._watch.begin_test(self._function)

    # -- outcomes -------------------------------------------------------------------------------------------------
    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        """Look at what a failing assertion compares; pytest shows it as it would without us."""
        self._failed.assertion_failed(op, left, right)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        report = yield
        seen: dict[str, Any] = {}
        if call.excinfo is not None:
            seen["path"], seen["line"] = self._raising_line(call.excinfo)
            if report.failed:
                self._failed.record(item, call.excinfo.value)
        self._phase_ended(call)
        if facts := self._recorder.take():
            if report.failed and any(fact["kind"] == "lock_wait" for fact in facts):
                _tell_waits(report, facts)
            if self._attaches:
                seen["facts"] = facts
            else:
                self._hand_over(facts)
        if seen:
            report.savepoint = seen
        if call.when == "teardown" and (summary := self._queries.summary()):
            report.savepoint_queries = summary
        return report

    def _phase_ended(self, call: pytest.CallInfo[None]) -> None:
        """What comes next begins here: a hook for each phase would cost more than all that is looked at in one."""
        if call.when == "setup" and call.excinfo is None:
            self._recorder.when = "call"
            self._watch.caller.fixtures_run = False
        elif call.when != "teardown":
            self._recorder.when = "teardown"
            self._watch.caller.fixtures_run = True
            self._watch.called(passed=call.excinfo is None)
        else:
            self._watch.end_test()

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
        things = [self._function, *(each[-1].func for each in makers)]
        return (self._watch.reached(things) or Reach()).functions


def _tell_waits(report: pytest.TestReport, facts: list[Fact]) -> None:
    # A test that waited for a lock has time for this import, and the others do without.
    from pytest_savepoint.diagnosis.lock_waits import told_waits  # noqa: PLC0415

    add_words(report, "savepoint: waits for locks", "\n".join(told_waits(facts)))


def distributions(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """The plugins of this run with their versions."""
    for _, distribution in config.pluginmanager.list_plugin_distinfo():
        yield distribution.project_name, distribution.version
