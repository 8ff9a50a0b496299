"""What the reports of tests carry: the facts of the process that ran them, and each phase for the evidence file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_savepoint.evidence import EvidenceFile, Fact
from pytest_savepoint.failed_report import KEPT

__all__ = ["Phases", "worker_of"]

_RAISED_AT = re.compile(r"^(?P<path>[^\s:][^:\n]*\.py):(?P<line>\d+):", re.MULTILINE)


class Phases:
    """Reads reports where there is somebody to read for: an evidence file, or facts of other processes.

    :param file: the evidence file, or None when nobody asked for one.
    :param take: takes the facts.
    """

    def __init__(self, file: EvidenceFile | None, take: Callable[[list[Fact]], None]) -> None:
        self._file = file
        self._take = take
        self._collect_errors: set[str] = set()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        # Under xdist every worker reports the same broken file.
        if self._file is not None and report.outcome == "failed" and report.nodeid not in self._collect_errors:
            self._collect_errors.add(report.nodeid)
            raised = list(_RAISED_AT.finditer(report.longreprtext))
            self._phase(
                self._file,
                report,
                when="collect",
                path=raised[-1]["path"] if raised else report.nodeid.partition("::")[0] or None,
                line=int(raised[-1]["line"]) if raised else None,
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seen: dict[str, Any] = getattr(report, "savepoint", {})
        self._take(seen.get("facts", []))
        if self._file is None:
            return
        # xdist reports the test during which a worker died with the phase "???".
        when = report.when if report.when in ("setup", "call", "teardown") else "call"
        for applied in getattr(report, "savepoint_migrations", ()):
            self._file.append("migration", **applied)
        self._phase(self._file, report, when=when, path=seen.get("path"), line=seen.get("line"))

    @staticmethod
    def _phase(file: EvidenceFile, report: Any, *, when: str, path: str | None, line: int | None) -> None:
        failed = report.outcome == "failed"
        file.append(
            "phase",
            nodeid=report.nodeid,
            worker=worker_of(report),
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
            load=os.getloadavg()[0] if when == "teardown" and hasattr(os, "getloadavg") else None,
        )


def worker_of(report: Any) -> str:
    """The name of the process that a report comes from."""
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
