"""pytest's hooks in the process that talks to the user: the evidence file, and the findings at the end."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_savepoint.errors import SettingsError
from pytest_savepoint.evidence import EvidenceFile, Fact
from pytest_savepoint.failed_report import KEPT
from pytest_savepoint.loops.collections import Collections
from pytest_savepoint.phases import worker_of
from pytest_savepoint.silence import read_silences, told_apart
from pytest_savepoint.silence_marker import marked_silences
from pytest_savepoint.witness import distributions

if TYPE_CHECKING:
    from pytest_savepoint.diagnosis import Finding

__all__ = ["HANDED_OVER", "Scribe"]

HANDED_OVER = "savepoint_facts"
"""The key of xdist's workeroutput under which a worker leaves its last facts."""


class Scribe:
    """Writes to the evidence file what concerns the whole run, and shows what was found.

    :param file: the evidence file, or None when nobody asked for one.
    """

    def __init__(self, config: pytest.Config, isolation: str, file: EvidenceFile | None) -> None:
        self._config = config
        self._isolation = isolation
        self._file = file
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
            seed=getattr(self._config.option, "randomly_seed", None),
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

    @property
    def facts(self) -> list[Fact]:
        """What was recorded in all processes so far."""
        return self._facts

    def add(self, facts: list[Fact]) -> None:
        """Take facts that a process has recorded."""
        self._facts += facts

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.add(getattr(node, "workeroutput", {}).get(HANDED_OVER, []))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        self._write("crash", worker=worker_of(report), nodeid=crashitem)

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> Generator[None, object, object]:
        self._facts += _repeated(terminalreporter)
        others = yield
        # Among what is garbage by now may be a task that ignores its end: to collect it takes for ever.
        gc.disable()
        self._conclude(terminalreporter)
        self._write("finished", exit=int(exitstatus), time=time.time())
        gc.enable()
        return others

    def _conclude(self, terminal: pytest.TerminalReporter) -> None:
        from pytest_savepoint.diagnosis import diagnose  # noqa: PLC0415 # what no test has to wait for

        findings = diagnose(self._facts, on_fault=lambda text: self._write("warning", text=text))
        if findings:
            self._show(terminal, findings)
        for grown in (fact for fact in self._facts if fact["kind"] == "growth"):
            self._write("growth", **{name: grown[name] for name in ("worker", "first", "last", "tests", "allocated")})
        for finding in findings:
            self._write("finding", **finding.as_dict())
        for silence in marked_silences(self._facts):
            self._write("silence", test=silence.test, code=silence.code, reason=silence.reason)

    def _show(self, terminal: pytest.TerminalReporter, findings: list[Finding]) -> None:
        from pytest_savepoint.diagnosis import shown  # noqa: PLC0415 # as above

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


def _repeated(terminal: pytest.TerminalReporter) -> list[Fact]:
    """The failed tests that were repeated in a database of their own, and whether they passed there."""
    reports = (report for several in terminal.stats.values() for report in several)
    kept = ((report, getattr(report, KEPT, None)) for report in reports)
    return [{"kind": "repeated", "test": report.nodeid, "passed": found["passed"]} for report, found in kept if found]
