"""What pytest tells us, turned into evidence: every phase of every test, and the findings at the end.

`Witness` sits in each process that runs tests and attaches what it recorded to pytest's own reports, so the facts of
a test travel with its outcome and a worker that dies later takes nothing along. `Scribe` sits in the process that
talks to the user; it writes the evidence file, asks for the diagnosis and shows the findings.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_savepoint.evidence import EvidenceFile

__all__ = ["Scribe", "Witness", "observe"]

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
        self._root = config.rootpath
        self._worker = worker

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        outcome = yield
        report = outcome.get_result()
        if call.excinfo is not None:
            path, line = self._raising_line(call.excinfo)
            report.savepoint = {"path": path, "line": line}

    def _raising_line(self, excinfo: pytest.ExceptionInfo[BaseException]) -> tuple[str | None, int | None]:
        for entry in reversed(excinfo.traceback):
            path = Path(entry.path)
            if path.is_relative_to(self._root) and "site-packages" not in path.parts:
                return path.relative_to(self._root).as_posix(), entry.lineno + 1
        return None, None


class Scribe:
    """Writes the evidence file and shows what was found."""

    def __init__(self, config: pytest.Config, isolation: str) -> None:
        self._config = config
        self._isolation = isolation
        self._file = EvidenceFile.from_environment()
        self._collect_errors: set[str] = set()

    def _write(self, kind: str, **values: Any) -> None:
        if self._file is not None:
            self._file.append(kind, **values)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        plugins = {dist.project_name: dist.version for _, dist in self._config.pluginmanager.list_plugin_distinfo()}
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

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._write("finished", exit=int(exitstatus), time=time.time())

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
    text = crash.message if crash is not None else report.longreprtext.strip()
    lines = [line for line in text.splitlines() if line.strip()]
    if crash is None and lines:
        return lines[-1].removeprefix("E ").strip()
    return lines[0].strip() if lines else ""
