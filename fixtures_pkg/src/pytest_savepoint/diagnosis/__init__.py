"""From recorded facts to findings: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from pytest_savepoint.diagnosis import (
    background,
    chance,
    connections,
    crossings,
    fixtures,
    framework,
    logs,
    loops,
    order,
    races,
    schema,
    sequences,
    sessions,
    sleeps,
    tasks,
    timing,
    unordered,
    visibility,
)
from pytest_savepoint.diagnosis.finding import CODES, Culprit, Finding, merged, shown
from pytest_savepoint.diagnosis.record import Fact, Record

__all__ = ["CODES", "Culprit", "Finding", "combined", "diagnose", "shown"]

_CIRCUMSTANTIAL = 0.9

Rule = Callable[[Record], Iterator[Finding]]

_RULES: tuple[Rule, ...] = (
    *crossings.RULES,
    *loops.RULES,
    *connections.RULES,
    *sessions.RULES,
    *visibility.RULES,
    *schema.RULES,
    *tasks.RULES,
    *background.RULES,
    *fixtures.RULES,
    *order.RULES,
    *logs.RULES,
    *unordered.RULES,
    *races.RULES,
    *sleeps.RULES,
    *timing.RULES,
    *sequences.RULES,
    *chance.RULES,
    *framework.RULES,
)


def diagnose(facts: Iterable[Fact], *, on_fault: Callable[[str], None]) -> list[Finding]:
    """Every cause that the facts of a run prove, one finding each.

    :param facts: of all processes of the run, as they were recorded.
    :param on_fault: told when a rule of ours fails; the others still speak.
    """
    record = Record(facts)
    found = combined(finding for rule in _RULES for finding in _apply(rule, record, on_fault))
    passed = {fact["test"] for fact in record.of("repeated") if fact["passed"]}
    return [_with_repetition(each, passed) for each in found]


def _with_repetition(found: Finding, passed: set[str]) -> Finding:
    """The finding, and whether the first of its tests passed when it was repeated in a database of its own."""
    test = next((test for test in found.tests if test in passed), None)
    if test is None:
        return found
    return replace(found, evidence=(f"{test} passed when it was repeated in a database of its own", *found.evidence))


def combined(several: Iterable[Finding]) -> list[Finding]:
    """One finding per cause and culprit, without the circumstantial (something leaked) whose tests all have a direct cause.

    :param several: of one run, or of several runs of the same tests.
    """
    findings = merged(several)
    explained = {test for each in findings if each.confidence > _CIRCUMSTANTIAL for test in each.tests}
    return [
        each
        for each in findings
        if each.confidence > _CIRCUMSTANTIAL or not each.tests or not explained.issuperset(each.tests)
    ]


def _apply(rule: Rule, record: Record, on_fault: Callable[[str], None]) -> list[Finding]:
    try:
        return list(rule(record))
    except Exception as error:  # noqa: BLE001 # one broken rule must not hide what the others see
        on_fault(f"the rule {rule.__name__.strip('_')} failed: {type(error).__name__}: {error}")
        return []
