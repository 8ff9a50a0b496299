"""From recorded facts to findings: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_savepoint.diagnosis import connections, framework, loops, order, sessions, tasks, timing
from pytest_savepoint.diagnosis.finding import CODES, Culprit, Finding, merged, shown
from pytest_savepoint.diagnosis.record import Fact, Record

__all__ = ["CODES", "Culprit", "Finding", "diagnose", "shown"]

_RULES = (
    *loops.RULES,
    *connections.RULES,
    *sessions.RULES,
    *tasks.RULES,
    *order.RULES,
    *timing.RULES,
    *framework.RULES,
)


def diagnose(facts: Iterable[Fact]) -> list[Finding]:
    """Every cause that the facts of a run prove, one finding each.

    :param facts: of all processes of the run, as they were recorded.
    """
    record = Record(facts)
    return merged(each for rule in _RULES for each in rule(record))
