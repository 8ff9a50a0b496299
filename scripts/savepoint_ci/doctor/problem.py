"""What rules are given, and what they give back."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pytest_savepoint.diagnosis import CODES, Culprit, Finding

from savepoint_ci.doctor.edits import Edit
from savepoint_ci.doctor.project import Project
from savepoint_ci.doctor.source import Function, Source
from savepoint_ci.doctor.tests import TestFunction, Tests
from savepoint_ci.doctor.things import Things

__all__ = ["Examined", "Problem", "Rule", "nodeid", "problem"]


@dataclass(frozen=True, eq=False)
class Examined:
    """A project with its tests, and what names in it stand for."""

    project: Project
    tests: Tests
    things: Things


@dataclass(frozen=True)
class Problem:
    """A finding that the source proves, with the edits that mend it when they are mechanical and safe."""

    finding: Finding
    edits: tuple[Edit, ...] = ()


Rule = Callable[[Examined], Iterator[Problem]]


def problem(
    cause: str,
    *,
    source: Source,
    node: ast.expr | ast.stmt | ast.ExceptHandler,
    name: str,
    explanation: str,
    fix: str,
    confidence: float,
    evidence: Iterable[str] = (),
    tests: Iterable[TestFunction] = (),
    edits: Iterable[Edit | None] = (),
) -> Problem:
    """A problem at a node.

    :param name: of the fixture, function or object that is to be changed.
    :param edits: None among them means that there is nothing to do there.
    """
    found = Finding(
        code=CODES[cause],
        cause=cause,
        tests=tuple(nodeid(each.function) for each in tests),
        culprit=Culprit(str(source.path), node.lineno, name),
        explanation=explanation,
        fix=fix,
        confidence=confidence,
        evidence=tuple(evidence),
    )
    return Problem(found, tuple(edit for edit in edits if edit is not None))


def nodeid(function: Function) -> str:
    """The name that pytest gives to a test."""
    names = [str(function.source.path), *([function.owner.name] if function.owner else []), function.name]
    return "::".join(names)
