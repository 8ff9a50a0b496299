"""pytest's hooks in the process that talks to the user: the evidence file, and the findings at the end."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Generator
from typing import Any

import pytest

from pytest_savepoint.diagnosis import Finding, diagnose, shown
from pytest_savepoint.errors import SettingsError
from pytest_savepoint.evidence import EvidenceFile, Fact
from pytest_savepoint.keeping import KEPT
from pytest_savepoint.loops.collections import Collections
from pytest_savepoint.silence import read_silences, told_apart
from pytest_savepoint.silence_marker import marked_silences
from pytest_savepoint.witness import distributions

__all__ = ["HANDED_OVER", "Scribe"]

HANDED_OVER = "savepoint_facts"
"""The key of xdist's workeroutput under which a worker leaves its last facts."""

_RAISED_AT = re.compile(r"^(?P<path>[^\s:][^:\n]*\.py):(?P<line>\d+):", re.MULTILINE)


class Scribe:
    """Writes the evidence file and shows what was found."""

    def __init__(self, config: pytest.Config, isolation: str) -> None:
        self._config = config
        self._isolation = isolation
        self._file = EvidenceFile.from_environment()
        self._collect_errors: set[str] = set()
        self._collections = Collections(config.rootpath)
        self._facts: list[Fact] = []

    def _write(self, kind: str, **values: Any) -> None:
        if self._file is not None:
            self._file.append(kind, **values)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        plugins = dict(distributions(self._config))
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
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._write("collected", total=len(ids))
        difference = self._collections.add(node.gateway.id, list(ids))
        if difference is not None:
            self._facts.append(difference)

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
        seen: dict[str, Any] = getattr(report, "savepoint", {})
        self._facts += seen.get("facts", ())
        if kept := getattr(report, KEPT, None):
            self._facts.append({"kind": "repeated", "test": report.nodeid, "passed": kept["passed"]})
        if self._file is None:
            return
        # xdist reports the test during which a worker died with the phase "???".
        when = report.when if report.when in ("setup", "call", "teardown") else "call"
        for applied in getattr(report, "savepoint_migrations", ()):
            self._write("migration", **applied)
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
            isolation=getattr(report, "savepoint_isolation", ""),
            queries=getattr(report, "savepoint_queries", None),
            kept=getattr(report, KEPT, None),
        )

    @property
    def facts(self) -> list[Fact]:
        """What was recorded in all processes so far."""
        return self._facts

    def add(self, facts: list[Fact]) -> None:
        """Take facts that came without a report."""
        self._facts += facts

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.add(getattr(node, "workeroutput", {}).get(HANDED_OVER, []))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        self._write("crash", worker=_worker_of(report), nodeid=crashitem)

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> Generator[None, object, object]:
        others = yield
        findings = diagnose(self._facts, on_fault=lambda text: self._write("warning", text=text))
        if findings:
            self._show(terminalreporter, findings)
        for grown in (fact for fact in self._facts if fact["kind"] == "growth"):
            self._write("growth", **{name: grown[name] for name in ("worker", "first", "last", "tests", "allocated")})
        for finding in findings:
            self._write("finding", **finding.as_dict())
        for silence in marked_silences(self._facts):
            self._write("silence", test=silence.test, code=silence.code, reason=silence.reason)
        self._write("finished", exit=int(exitstatus), time=time.time())
        return others

    def _show(self, terminal: pytest.TerminalReporter, findings: list[Finding]) -> None:
        silences, texts = marked_silences(self._facts), []
        try:
            silences += read_silences(self._config.rootpath)
        except SettingsError as error:
            texts.append(str(error))
        left, silenced = told_apart(findings, silences)
        texts += [shown(finding) for finding in left]
        texts += [f"silenced: {finding.code} {finding.cause} ({reason})" for finding, reason in silenced]
        terminal.section("savepoint: findings")
        terminal.write_line("\n\n".join(texts))

    def pytest_unconfigure(self) -> None:
        if self._file is not None:
            self._file.close()


def _worker_of(report: Any) -> str:
    node = getattr(report, "node", None)
    return str(node.gateway.id) if node is not None else "main"


def _one_line(report: Any) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).strip().partition("\n")[0]
    crash = getattr(report.longrepr, "reprcrash", None)
    text: str = crash.message if crash is not None else report.longreprtext.strip()
    lines = [line for line in text.splitlines() if line.strip()]
    if crash is None and lines:
        return lines[-1].removeprefix("E ").strip()
    return lines[0].strip() if lines else ""
