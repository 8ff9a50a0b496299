"""Applies what a project tolerates to what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from msgspec.structs import replace
from pytest_savepoint.silence import told_apart

from savepoint_ci.report.model import Gate, Quarantined, Report, Result, Silenced
from savepoint_ci.tolerated.read import Tolerated

__all__ = ["with_tolerated"]

_FAILED = ("failed", "error")


def with_tolerated(report: Report, tolerated: Tolerated, *, today: date) -> Report:
    """The report without what the project puts up with, and with what is to be said of that.

    Tests in quarantine keep their outcome; when nothing else failed, the run is green as far as its gates are.

    :param today: the last day of a quarantine still counts.
    """
    quarantined = _quarantined(report, tolerated, today)
    left, silenced = told_apart(report.findings, tolerated.silence)
    excused = {test.nodeid for test in quarantined}
    gates = tuple(_without(gate, report, excused) for gate in report.gates)
    return replace(
        report,
        result=_result(report, gates, excused),
        gates=gates,
        findings=tuple(left),
        silenced=(*report.silenced, *(Silenced(finding=finding, reason=reason) for finding, reason in silenced)),
        quarantined=quarantined,
        warnings=tuple(dict.fromkeys((*report.warnings, *_stale(tolerated, report, today)))),
    )


def _quarantined(report: Report, tolerated: Tolerated, today: date) -> tuple[Quarantined, ...]:
    active = [entry for entry in tolerated.quarantine if entry.expires >= today]
    return tuple(
        Quarantined(
            nodeid=test.nodeid,
            reason=entry.reason,
            owner=entry.owner,
            expires=entry.expires.isoformat(),
            failed=test.outcome in _FAILED,
        )
        for test in (report.tests if active else ())
        if (entry := next((each for each in active if _is_test(each.test, test.nodeid)), None))
    )


def _result(report: Report, gates: tuple[Gate, ...], excused: set[str]) -> Result:
    failed = {test.nodeid for test in report.tests if test.outcome in _FAILED}
    only_excused = report.result == "tests-failed" and failed and failed <= excused and not report.counts["not_run"]
    if not only_excused and report.result != "gate":
        return report.result
    return "green" if all(gate.passed for gate in gates) else "gate"


def _without(gate: Gate, report: Report, excused: set[str]) -> Gate:
    """The gate for unstable tests, with those in quarantine left out."""
    if gate.name != "stability":
        return gate
    unstable = {verdict.nodeid for verdict in report.verdicts} - excused
    stable = 100.0 * (1 - len(unstable) / max(len(report.tests), 1))
    return replace(gate, actual=stable, passed=stable >= gate.wanted)


def _stale(tolerated: Tolerated, report: Report, today: date) -> Iterator[str]:
    """What is to be said of entries that have expired or that name no test."""
    for entry in tolerated.quarantine:
        if entry.expires < today:
            yield (
                f"The quarantine of {entry.test} ended on {entry.expires} ({entry.owner}: {entry.reason}), so it counts "
                f"again. Mend the test, delete the entry, or set a later date."
            )
        elif report.tests and not report.shard and not any(_is_test(entry.test, test.nodeid) for test in report.tests):
            yield f"The quarantine names {entry.test}, and no such test ran; was it renamed or deleted?"


def _is_test(wanted: str, nodeid: str) -> bool:
    return nodeid == wanted or nodeid.partition("[")[0] == wanted
