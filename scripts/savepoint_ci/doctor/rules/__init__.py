"""What is wrong in a source, one family to a file."""

from __future__ import annotations

from savepoint_ci.doctor.problem import Rule
from savepoint_ci.doctor.rules import (
    blocking,
    concurrency,
    connections,
    context,
    fixtures,
    framework,
    loops,
    order,
    resources,
    sessions,
    tasks,
    time,
)

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    *loops.RULES,
    *resources.RULES,
    *connections.RULES,
    *sessions.RULES,
    *blocking.RULES,
    *tasks.RULES,
    *fixtures.RULES,
    *order.RULES,
    *concurrency.RULES,
    *time.RULES,
    *framework.RULES,
    *context.RULES,
)
