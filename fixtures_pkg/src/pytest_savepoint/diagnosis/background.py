"""SP4xx and SP7xx: tasks that run beside a test, and how they end without anybody noticing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_savepoint.diagnosis.finding import Finding, finding
from pytest_savepoint.diagnosis.record import Fact, Record, asserted, at_site, overturned, place, timed_out

__all__ = ["RULES"]

_DESTROYED = "Task was destroyed but it is pending"
_NEVER_RETRIEVED = "exception was never retrieved"
_NOTHING_THERE = {"NoResultFound", "AttributeError", "TypeError", "IndexError", "KeyError"}


def _collected(record: Record) -> Iterator[Finding]:
    """The garbage collector took a task that had not ended, on a loop that still ran."""
    for fact in record.of("loop_error"):
        made = fact["made"]
        if made is None or _DESTROYED not in fact["message"] or fact["loop_closed"]:
            continue
        tests = dict.fromkeys(each for each in (fact["test"], made["test"]) if each)
        failed = [each for each in tests if any(failure["test"] == each for failure in record.failures)]
        if not failed:
            continue
        yield finding(
            "task.collected_while_pending",
            tests=failed,
            culprit=at_site(made["site"]),
            explanation=f"Nobody keeps the task that {place(made['site'])} makes. The loop holds tasks weakly, so the garbage collector "
            "took this one before it had ended, and its work was never done.",
            fix="Keep it until it is done: tasks.add(task); task.add_done_callback(tasks.discard), or use a TaskGroup.",
            confidence=0.96,
            evidence=[f"{_DESTROYED}, made at {place(made['site'])}"],
        )


def _swallowed(record: Record) -> Iterator[Finding]:
    """A background task of a failing test died, and nobody looked at its exception."""
    for failure in record.failures:
        first = failure["exceptions"][0]
        if not (overturned(failure) or timed_out(failure) or first["type"] in _NOTHING_THERE):
            continue
        for dead in _dead(record, failure):
            made = dead["made"]
            yield finding(
                "task.exception_swallowed",
                tests=[failure["test"]],
                culprit=at_site(made["site"]),
                explanation=f"The task made at {place(made['site'])} died of {dead['type']}: {dead['error'][:120]}. Nobody awaits it, so "
                f"{failure['test']} only saw that its work was not done.",
                fix="Await the task (or use a TaskGroup), or give it a done callback that raises or logs its exception.",
                confidence=0.92,
                evidence=[f"{dead['type']}: {dead['error'][:160]}"],
            )
            break


def _dead(record: Record, failure: Fact) -> Iterator[Fact]:
    raised = {(error["type"], error["message"]) for error in failure["exceptions"]}
    for task in failure["died"]:
        if _of_this_test(task, failure) and (task["type"], task["error"]) not in raised:
            yield {"made": task, "type": task["type"], "error": task["error"]}
    for fact in record.during("loop_error", failure):
        known = fact["made"] is not None and fact["type"] is not None and _NEVER_RETRIEVED in fact["message"]
        if known and _of_this_test(fact["made"], failure) and (fact["type"], fact["error"]) not in raised:
            yield fact


def _of_this_test(made: Fact, failure: Fact) -> bool:
    """Made by this test, or by a fixture or an import that serves several."""
    return made["test"] == failure["test"] or made["fixture"] is not None


def _snapshot(record: Record) -> Iterator[Finding]:
    """A task that was started earlier works with the context variables of that time, and a test met their values."""
    for failure in record.failures:
        if not asserted(failure):
            continue
        for task in failure["carried"]:
            # A default is only missed by who sets the variable.
            names = sorted(
                set(task["variables"]) & set(failure["reached"]["variables"])
                | set(task["defaults"]) & set(failure["reached"]["sets"])
            )
            if not names or (task["test"] == failure["test"] and task["fixture"] is None and task["when"] == "call"):
                continue
            yield finding(
                "context.worker_snapshot",
                tests=[failure["test"]],
                culprit=at_site(task["site"]),
                explanation=f"The task made at {place(task['site'])} was started in {task['test'] or 'an import'} and keeps a copy of the "
                f"context of that moment. {failure['test']} set {names[0]} later, which the task does not see.",
                fix=f"Hand {names[0]} over with each piece of work (as an argument, or contextvars.copy_context() beside the job) "
                "instead of reading it in the task.",
                confidence=0.91,
                evidence=[f"{names[0]} in the task has the value that the assertion shows"],
            )
            break


def _leaked_latent(record: Record) -> Iterator[Finding]:
    """A task of one test wrote while another ran, whose table that was, and this time nobody minded."""
    for fact in record.of("late_write"):
        made = fact["made"]
        if not fact["test"] or fact["test"] == made["test"]:
            continue
        yield finding(
            "task.leaked_past_test",
            tests=[fact["test"]],
            culprit=at_site(made["site"]),
            explanation=f"The task made at {place(made['site'])} in {made['test']} went on after that test and wrote to "
            f"{fact['table']} while {fact['test']} ran, which uses that table, too. It depends on the order and the moment "
            "who meets what it writes.",
            fix="Await or cancel background tasks before the test ends: keep them in a set and drain it in a fixture's teardown.",
            confidence=0.75,
            evidence=[f"{fact['sql'][:120]} sent by a task of {made['test']} during {fact['test']}"],
        )


RULES: tuple[Callable[[Record], Iterator[Finding]], ...] = (_collected, _swallowed, _snapshot, _leaked_latent)
