"""Say why tests failed or may fail."""

from __future__ import annotations

import msgspec
from pytest_savepoint.diagnosis import Finding, shown
from pytest_savepoint.silence import read_silences, told_apart

from savepoint_ci.invocation import Invocation
from savepoint_ci.steps.report import make_report

__all__ = ["diagnose"]


def diagnose(invocation: Invocation) -> None:
    """Show the findings of the last suite, each with its evidence; the report lists those that are silenced."""
    found, _ = told_apart(make_report(invocation).findings, read_silences(invocation.project))
    findings = msgspec.convert(msgspec.to_builtins(found), list[Finding])
    for finding in findings:
        invocation.display.say(shown(finding))
    if not findings:
        invocation.display.say("savepoint: no finding")
