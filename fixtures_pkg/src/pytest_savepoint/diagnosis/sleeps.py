"""SP6xx: tests that sleep and hope that a task has done its work."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Culprit, Finding, finding
from pytest_savepoint.diagnosis.record import (
    Fact,
    Record,
    asserted,
    enclosing,
    innermost,
    place,
    selects,
    tables_of,
)
from pytest_savepoint.syntax import nodes_of

__all__ = ["RULES"]

_WRITES_TO = r"(?:insert\s+into|update|delete\s+from)\s+\"?{}\b"


def _sleep_based(record: Record) -> Iterator[Finding]:
    """The assertion right after a sleep failed while a task of this test was still at work."""
    for failure in record.failures:
        site = innermost(failure)
        # Nobody hopes for the work of a task that was called off.
        working = [
            each for each in failure["pending"] if each.get("test") == failure["test"] and not each["cancelling"]
        ]
        if not asserted(failure) or site is None or not working:
            continue
        function = failure["exceptions"][0]["function"]
        hoped_for = [each for each in working if _is_hoped_for(failure, each)]
        sleep = _sleep_before(function, site["line"], failure["reached"]["sleeps"], asking=bool(hoped_for))
        if sleep is None:
            continue
        task = next(iter((*hoped_for, *working)))
        at = task["waiting_at"][-1] if task["waiting_at"] else task["site"]
        yield finding(
            "time.sleep_based_sync",
            tests=[failure["test"]],
            culprit=sleep,
            explanation=f"{sleep.path}:{sleep.line} sleeps a fixed time and hopes that the task made at {place(task['site'])} is done. "
            f"It was still at {place(at)} when the assertion ran.",
            fix="Wait for what the task signals, with a generous time-out: await asyncio.wait_for(event.wait(), 10), or await the "
            "task itself.",
            confidence=0.92,
            evidence=[f"{task['name']} pending at {place(at)} when {place(site)} failed"],
        )


def _is_hoped_for(failure: Fact, task: Fact) -> bool:
    """Whether the function in which a task waits writes to a table that the test's last query read, or names what is expected."""
    asked = [each["sql"] for each in failure["statements"] if each["when"] == "call" and each["task"] != task["task"]]
    read = next((tables_of(sql) for sql in reversed(asked) if selects(sql)), set())
    source = "\n".join(line for at in task["waiting_at"] for line in (at["function"] or {"source": ()})["source"])
    comparison = failure["comparison"] or {"op": "", "right": ""}
    named = comparison["op"] == "==" and comparison["right"] == "str" and comparison["shown"][1]
    return any(re.search(_WRITES_TO.format(re.escape(table)), source, re.IGNORECASE) for table in read) or bool(
        named and re.search(rf"=\s*[\"']{re.escape(named[1:-1])}[\"']", source)
    )


def _sleep_before(function: Fact | None, line: int, sleepers: list[Fact], *, asking: bool) -> Culprit | None:
    """The sleep that precedes the statement at `line`, with nothing awaited in between or by itself.

    :param sleepers: the functions in reach that sleep.
    :param asking: what else is awaited only asks for the outcome.
    """
    body = enclosing(function, line, (ast.FunctionDef, ast.AsyncFunctionDef))
    if function is None or not isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    slept = None
    for statement in body.body:
        awaited = [node for node in ast.walk(statement) if isinstance(node, ast.Await)]
        if statement.lineno >= line:
            return slept if asking or not awaited else None
        if any("sleep" in ast.dump(node.value) for node in awaited):
            slept = Culprit(function["path"], statement.lineno, function["name"])
        elif awaited:
            helper = (found for each in sleepers if (found := _only_sleeps(each, awaited)) is not None)
            slept = next(helper, slept if asking else None)
    return slept


def _only_sleeps(helper: Fact, awaited: list[ast.Await]) -> Culprit | None:
    """The line at which a function sleeps, when it is what was awaited and awaits nothing else itself."""
    called = [node.value.func for node in awaited if isinstance(node.value, ast.Call)]
    names = {getattr(each, "attr", None) or getattr(each, "id", None) for each in called}
    sleeps = [node for node in nodes_of(helper) if isinstance(node, ast.Await)]
    if names != {helper["name"]} or not sleeps or any("sleep" not in ast.dump(node.value) for node in sleeps):
        return None
    return Culprit(helper["path"], sleeps[0].lineno, helper["name"])


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_sleep_based,)
