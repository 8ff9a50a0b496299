"""What pytest tells us, turned into evidence: every phase of every test, and the findings at the end.

`Witness` sits in each process that runs tests and attaches what it recorded to pytest's own reports, so the facts of
a test travel with its outcome and a worker that dies later takes nothing along. `Scribe` sits in the process that
talks to the user; it writes the evidence file, asks for the diagnosis and shows the findings.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from pytest_savepoint.diagnosis import diagnose, shown
from pytest_savepoint.evidence import EvidenceFile, Fact, Recorder
from pytest_savepoint.loops.watch import Watch

__all__ = ["Scribe", "Witness", "observe"]

_LOOP_SETTINGS = ("asyncio_mode", "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope")
_RAISED_AT = re.compile(r"^(?P<path>[^\s:][^:\n]*\.py):(?P<line>\d+):", re.MULTILINE)


def observe(config: pytest.Config, isolation: str) -> None:
    """Watch this pytest process.

    :param isolation: how tests are undone, as it stands in the evidence.
    """
    worker = getattr(config, "workerinput", {}).get("workerid")
    config.pluginmanager.register(Witness(config, worker or "main"), "savepoint-witness")
    if worker is None:
        config.pluginmanager.register(Scribe(config, isolation), "savepoint-scribe")


class Witness:
    """Records in the process that runs tests."""

    def __init__(self, config: pytest.Config, worker: str) -> None:
        self._config = config
        self._recorder = Recorder(worker)
        self._watch = Watch(self._recorder, config.rootpath)
        self._watch.start()
        self._fixtures: dict[str, Fact] = {}
        self._failed_fixture: Fact | None = None

    def pytest_unconfigure(self) -> None:
        self._watch.stop()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        settings = {name: self._ini(name) for name in _LOOP_SETTINGS}
        plugins = dict(_distributions(self._config))
        override = self._event_loop_override(session)
        self._recorder.note("configuration", settings=settings, event_loop=override, versions=plugins)

    def _ini(self, name: str) -> str | None:
        try:
            value = self._config.getini(name)
        except (KeyError, ValueError):
            return None  # the plugin that declares it is not there
        return str(value) if value else None

    def _event_loop_override(self, session: pytest.Session) -> Fact | None:
        modules = {item.parent: item for item in session.items}
        for item in modules.values():
            for definition in session._fixturemanager.getfixturedefs("event_loop", item) or ():  # noqa: SLF001 # no public way
                fixture = self._watch.fixture("event_loop", definition.scope, definition.func)
                if fixture is not None:
                    return fixture
        return None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, None]:
        name = fixturedef.argname
        fixture = self._watch.fixture(name, fixturedef.scope, fixturedef.func)
        if fixture is not None:
            self._fixtures[name] = fixture
        outcome = yield
        if outcome.excinfo is not None:
            # The innermost comes first; the fixtures that requested it fail after it with the same error.
            self._failed_fixture = self._failed_fixture or fixture
        elif name.endswith(("_scoped_runner", "event_loop")):
            self._watch.adopt_runner(outcome.get_result(), fixturedef.scope)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._recorder.test, self._recorder.when = item.nodeid, "setup"
        self._failed_fixture = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        self._recorder.when = "call"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._recorder.when = "teardown"

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
        outcome = yield
        report = outcome.get_result()
        seen: dict[str, Any] = {}
        if call.excinfo is not None:
            seen["path"], seen["line"] = self._raising_line(call.excinfo)
        if report.failed:
            self._record_failure(item, call)
        facts = self._recorder.take()
        if facts:
            seen["facts"] = facts
        if seen:
            report.savepoint = seen

    def _record_failure(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        error = call.excinfo.value if call.excinfo is not None else None
        if error is None:
            return
        values = dict(getattr(item, "funcargs", None) or {})
        self._recorder.note(
            "failure",
            function=self._watch.fixture(item.name, "test", getattr(item, "function", None)),
            failed_fixture=self._failed_fixture,
            missing_fixture=self._missing_fixture(error),
            fixtures={name: self._fixture_value(name, value) for name, value in values.items()},
            **self._watch.failures.describe(error, values),
        )

    def _fixture_value(self, name: str, value: Any) -> Fact:
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}", "fixture": self._fixtures.get(name)}

    def _missing_fixture(self, error: BaseException) -> Fact | None:
        name, stack = getattr(error, "argname", None), getattr(error, "fixturestack", None)
        if not isinstance(name, str) or not stack:
            return None
        return {"name": name, "requested_by": self._watch.fixture(name, "", stack[-1])}

    def _raising_line(self, excinfo: pytest.ExceptionInfo[BaseException]) -> tuple[str | None, int | None]:
        for entry in reversed(excinfo.traceback):
            filename = str(entry.path)
            if self._watch.caller.owns(filename):
                return self._watch.caller.path(filename), entry.lineno + 1
        return None, None


class Scribe:
    """Writes the evidence file and shows what was found."""

    def __init__(self, config: pytest.Config, isolation: str) -> None:
        self._config = config
        self._isolation = isolation
        self._file = EvidenceFile.from_environment()
        self._collect_errors: set[str] = set()
        self._facts: list[Fact] = []

    def _write(self, kind: str, **values: Any) -> None:
        if self._file is not None:
            self._file.append(kind, **values)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        plugins = dict(_distributions(self._config))
        self._write(
            "session",
            workers=len(self._config.getoption("tx", None) or ()),
            pytest=pytest.__version__,
            plugins=plugins,
            python=platform.python_version(),
            isolation=self._isolation,
            time=time.time(),
        )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if not self._config.pluginmanager.has_plugin("dsession"):
            self._write("collected", total=len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:  # noqa: ARG002 # the hook's
        self._write("collected", total=len(ids))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        # Under xdist every worker reports the same broken file.
        if report.outcome == "failed" and report.nodeid not in self._collect_errors:
            self._collect_errors.add(report.nodeid)
            raised = list(_RAISED_AT.finditer(report.longreprtext))
            self._phase(
                report,
                when="collect",
                path=raised[-1]["path"] if raised else report.nodeid.partition("::")[0] or None,
                line=int(raised[-1]["line"]) if raised else None,
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # xdist reports the test during which a worker died with the phase "???".
        when = report.when if report.when in ("setup", "call", "teardown") else "call"
        seen: dict[str, Any] = getattr(report, "savepoint", {})
        self._facts += seen.get("facts", ())
        self._phase(report, when=when, path=seen.get("path"), line=seen.get("line"))

    def _phase(self, report: Any, *, when: str, path: str | None, line: int | None) -> None:
        failed = report.outcome == "failed"
        self._write(
            "phase",
            nodeid=report.nodeid,
            worker=_worker_of(report),
            when=when,
            outcome=report.outcome,
            duration=getattr(report, "duration", 0.0),
            start=getattr(report, "start", 0) or time.time(),
            message=_one_line(report) if report.outcome != "passed" else "",
            text=report.longreprtext if failed else "",
            path=path,
            line=line,
            xfail=hasattr(report, "wasxfail"),
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        self._write("crash", worker=_worker_of(report), nodeid=crashitem)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> Generator[None, Any, None]:
        yield
        findings = diagnose(self._facts)
        if findings:
            terminalreporter.section("savepoint: findings")
            terminalreporter.write_line("\n\n".join(shown(finding) for finding in findings))
        for finding in findings:
            self._write("finding", **finding.as_dict())
        self._write("finished", exit=int(exitstatus), time=time.time())

    def pytest_unconfigure(self) -> None:
        if self._file is not None:
            self._file.close()


def _distributions(config: pytest.Config) -> Iterator[tuple[str, str]]:
    for _, distribution in config.pluginmanager.list_plugin_distinfo():
        yield distribution.project_name, distribution.version


def _worker_of(report: Any) -> str:
    node = getattr(report, "node", None)
    return str(node.gateway.id) if node is not None else "main"


def _one_line(report: Any) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).strip().partition("\n")[0]
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else report.longreprtext.strip()
    lines = [line for line in text.splitlines() if line.strip()]
    if crash is None and lines:
        return lines[-1].removeprefix("E ").strip()
    return lines[0].strip() if lines else ""
