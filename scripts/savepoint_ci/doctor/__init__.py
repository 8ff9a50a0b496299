"""What is wrong with a suite by its source alone: syntax trees in, findings out, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from savepoint_ci.doctor.edits import Edit
from savepoint_ci.doctor.problem import Examined, Problem, Rule
from savepoint_ci.doctor.project import Project
from savepoint_ci.doctor.rules import (
    blocking,
    concurrency,
    connections,
    context,
    fixtures,
    framework,
    isolation,
    lasting,
    loops,
    order,
    resources,
    sessions,
    tasks,
    time,
)
from savepoint_ci.doctor.tests import Tests
from savepoint_ci.doctor.things import Things

__all__ = ["Problem", "Project", "edits_beside", "examine"]


_RULES: tuple[Rule, ...] = (
    *loops.RULES,
    *resources.RULES,
    *lasting.RULES,
    *connections.RULES,
    *sessions.RULES,
    *blocking.RULES,
    *tasks.RULES,
    *fixtures.RULES,
    *isolation.RULES,
    *order.RULES,
    *concurrency.RULES,
    *time.RULES,
    *framework.RULES,
    *context.RULES,
)


def examine(project: Project, *, on_fault: Callable[[str], None]) -> list[Problem]:
    """Every problem that the source of a project proves, in the order of its files.

    :param on_fault: told when a rule of ours fails; the others still speak.
    """
    tests = Tests(project)
    examined = Examined(project, tests, Things(project, tests))
    found: dict[tuple[object, ...], Problem] = {}
    for rule in _RULES:
        for each in _apply(rule, examined, on_fault):
            culprit = each.finding.culprit
            found.setdefault((each.finding.cause, culprit and (culprit.path, culprit.line)), each)
    return sorted(found.values(), key=_place)


def edits_beside(problems: Iterable[Problem], others: Sequence[Edit]) -> list[Edit]:
    """The edits of the problems that lie outside of what other edits replace."""
    replaced = [each for each in others if each.start < each.end]
    return [edit for each in problems if not _overlap(each.edits, replaced) for edit in each.edits]


def _overlap(edits: Iterable[Edit], others: Sequence[Edit]) -> bool:
    return any(
        one.path == other.path and other.start <= one.start and one.end <= other.end and one != other
        for one in edits
        for other in others
    )


def _apply(rule: Rule, examined: Examined, on_fault: Callable[[str], None]) -> Iterator[Problem]:
    try:
        yield from rule(examined)
    except Exception as error:  # noqa: BLE001 - one broken rule must not hide what the others see
        on_fault(f"the rule {rule.__name__} failed: {type(error).__name__}: {error}")


def _place(each: Problem) -> tuple[str, int, str]:
    culprit = each.finding.culprit
    return (culprit.path, culprit.line, each.finding.code) if culprit else ("", 0, each.finding.code)
